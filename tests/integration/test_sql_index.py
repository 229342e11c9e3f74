"""The functions of the schema `umbel` answer as the API does, through the same index."""

import re

import psycopg
import pytest
from pgvector import HalfVector
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.integration.factory import Factory, fill, unit
from tests.integration.reader import Row, ask, nearest
from umbel.base.database import transaction
from umbel.base.tables import ModelVersion
from umbel.models.partitions import drop_index, partition_name
from umbel.search.nearest import Match, Scope, nearest_images

LARGE, SMALL = 11_000, 50  # searched through the index, and exactly


@pytest.fixture(scope="module")
def gallery(shared_gallery: None) -> ModelVersion:
    """A gallery that is searched through the index, and in it a collection that is not. The tests only read it."""
    with transaction() as session:
        make = Factory(session)
        version = make.version()
        index = session.scalar(text("SELECT indexdef FROM pg_indexes WHERE indexname = :n"), {"n": index_name(version)})
        drop_index(session, version.id)
        fill(session, version, make.collection("large"), LARGE)
        fill(session, version, make.collection("small"), SMALL)
        session.execute(text(index or ""))
    return version


def index_name(version: ModelVersion) -> str:
    return f"{partition_name(version.id)}_hnsw"


def rows_of(matches: list[Match]) -> list[Row]:
    return [(m.image_id, m.distance, m.label, m.collection, m.meta) for m in matches]


@pytest.mark.parametrize("collection", [None, "large", "small"])
@pytest.mark.parametrize("k", [1, 10, 700])
def test_the_answer_is_the_one_of_the_api(
    session: Session, make: Factory, gallery: ModelVersion, collection: str | None, k: int
) -> None:
    scope = Scope(collection=collection)
    expected = nearest_images(session, unit(3), version=gallery, k=k, scope=scope).matches
    assert nearest(session, unit(3), k, collection) == rows_of(expected)
    assert len(expected) == (50 if (collection, k) == ("small", 700) else k)


def test_the_image_itself_is_left_out(session: Session, make: Factory, gallery: ModelVersion) -> None:
    image = session.scalar(
        text("SELECT image_id FROM embedding WHERE vector = :v"), {"v": HalfVector(unit(1)).to_text()}
    )
    assert image is not None
    scope = Scope(collection="large", without=[image])
    expected = nearest_images(session, unit(1), version=gallery, k=5, scope=scope).matches
    found = ask(session, "similar_images(:image, 5, collection => 'large')", image=image)
    assert found == rows_of(expected)
    farthest = found[2][1]
    assert ask(session, "similar_images(:i, 5, CAST(:d AS real))", i=found[0][0], d=-1) == []
    assert ask(session, "similar_images(:i, 5, CAST(:d AS real), 'large')", i=image, d=farthest) == found[:3]


def plans(session: Session, call: str) -> list[str]:
    """Every plan that Postgres made for a call, as trees of nodes; EXPLAIN hides those inside functions."""
    seen: list[str] = []
    driver = session.connection().connection.driver_connection
    assert isinstance(driver, psycopg.Connection)

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.message_primary == "plan:":
            seen.append(diagnostic.message_detail or "")

    driver.add_notice_handler(note)
    session.execute(text("DISCARD PLANS"))  # a version's plan is made once a connection
    session.execute(text("SET LOCAL debug_print_plan = on; SET LOCAL client_min_messages = log"))
    try:
        ask(session, call)
    finally:
        session.execute(text("RESET debug_print_plan; RESET client_min_messages"))
        driver.remove_notice_handler(note)
    return seen


def scanned(plan: str) -> set[tuple[str, str]]:
    """The kinds of scan in a plan, each with the oid of its index, or empty."""
    nodes = re.split(r"\{(?=[A-Z]*SCAN\b)", plan)[1:]
    found = ((re.match(r"\w+", node), re.search(r":indexid (\d+)", node)) for node in nodes)
    return {(kind.group() if kind else "", index.group(1) if index else "") for kind, index in found}


@pytest.mark.parametrize(
    "call", ["nearest('[1,1,1,1,1,1,1,1]')", "similar_images({image}, 700, collection => 'large')"]
)
def test_the_functions_use_the_index(session: Session, gallery: ModelVersion, call: str) -> None:
    image = session.scalar(text("SELECT image_id FROM umbel.embeddings WHERE collection = 'large' LIMIT 1"))
    oid = str(session.scalar(text("SELECT to_regclass(:n)::oid"), {"n": index_name(gallery)}))
    before = counted(session, gallery)
    searches = [plan for plan in plans(session, call.format(image=f"'{image}'")) if f":indexid {oid} " in plan]
    # By which index the few rows of other tables are read is the planner's choice.
    of_vectors = session.scalars(
        text("SELECT indexrelid::oid FROM pg_index WHERE indrelid = to_regclass(:p)"), {"p": partition_name(gallery.id)}
    )
    ours = {str(index) for index in of_vectors}
    assert [{index for _, index in scanned(plan)} & ours for plan in searches] == [{oid}]
    assert [after - earlier for after, earlier in zip(counted(session, gallery), before, strict=True)] == [1, 0]


def counted(session: Session, version: ModelVersion) -> tuple[int, int]:
    """Scans of the index and of the whole partition by this session, as far as they are not reported yet."""
    statement = "SELECT pg_stat_get_xact_numscans(to_regclass(:i)), pg_stat_get_xact_numscans(to_regclass(:p))"
    names = {"i": index_name(version), "p": partition_name(version.id)}
    return tuple(session.execute(text(statement), names).one())  # type: ignore[return-value]


def test_a_small_collection_is_scanned_exactly(session: Session, gallery: ModelVersion) -> None:
    before = counted(session, gallery)
    nearest(session, unit(3), 5, "small")
    assert counted(session, gallery)[0] == before[0]


def test_while_there_is_no_index_all_is_scanned(session: Session, make: Factory, gallery: ModelVersion) -> None:
    with_index = nearest(session, unit(3), 1)
    drop_index(session, gallery.id)
    assert nearest(session, unit(3), 1)[0][1] <= with_index[0][1]


def test_a_rare_collection_in_a_large_one_gives_all_it_has(session: Session, gallery: ModelVersion) -> None:
    assert len(nearest(session, unit(3), 1000, "small")) == 50


def test_the_callers_settings_are_as_before(session: Session, gallery: ModelVersion) -> None:
    names = (
        "hnsw.ef_search",
        "hnsw.iterative_scan",
        "hnsw.max_scan_tuples",
        "enable_seqscan",
        "enable_sort",
        "search_path",
    )
    settings = text("SELECT " + ", ".join(f"current_setting('{name}')" for name in names))
    session.execute(text("SET LOCAL hnsw.ef_search = 77; SET LOCAL enable_sort = off"))
    before = session.execute(settings).one()
    nearest(session, unit(3), 5)
    assert (session.execute(settings).one(), before[0], before[4]) == (before, "77", "off")

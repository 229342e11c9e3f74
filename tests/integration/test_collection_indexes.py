"""A large collection has an index of its own, which searches within it follow."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.integration.factory import Factory, fill, unit
from tests.integration.index_builds import terminated, unfinished_indexes
from tests.integration.threshold import scanned_up_to
from tests.processes import eventually
from umbel.base.database import autocommit, transaction
from umbel.base.errors import NotReady
from umbel.base.settings import settings
from umbel.base.tables import Collection, ModelVersion
from umbel.base.types import IndexKind, Queue
from umbel.jobs.wakeup import waker
from umbel.models import partitions
from umbel.models.collection_indexes import find_differences, update_collection_indexes
from umbel.models.partitions import Hnsw
from umbel.operations import maintenance
from umbel.search.nearest import Found, Scope, nearest_images
from umbel.search.recall import measure_recall

pytestmark = pytest.mark.usefixtures("database")

LARGE, SMALL, MOST = 120, 90, 300
ABOVE = settings().model_copy(update={"collection_index_above": LARGE, "index_memory_mb": 64})


@pytest.fixture
def version() -> ModelVersion:
    """With the collections `large`, `small` and `most`, which holds most of the gallery."""
    with transaction() as session:
        make = Factory(session)
        version = make.version()
        for name, count in {"large": LARGE, "small": SMALL, "most": MOST}.items():
            fill(session, version, make.collection(name), count)
    return version


def collection(name: str) -> UUID:
    with transaction() as session:
        return session.query(Collection.id).filter_by(name=name).scalar()


def indexed(version: ModelVersion) -> dict[UUID, bool]:
    with transaction() as session:
        return partitions.list_collection_indexes(session, version.id)


def search(name: str, *, exact: bool = False) -> Found:
    with transaction() as session:
        return nearest_images(session, unit(2), k=10, scope=Scope(collection=name), exact=exact)


def plan(version: ModelVersion, name: str, condition: str | None = None) -> str:
    """How Postgres follows an index within a collection, in the settings of such searches."""
    with transaction() as session:
        for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin", "sort"):
            session.execute(text(f"SET LOCAL enable_{way} = off"))
        statement = text("SELECT nearest_statement(:version, 8, :within, :condition, 'halfvec')")
        values = {"version": version.id, "within": collection(name), "condition": condition}
        query = session.scalar(statement, values)
        vector = str(unit(2).tolist())
        for place, value in {"$1": f"'{vector}'::halfvec", "$2": "10", "$3": "'{}'::uuid[]", "$4": "false"}.items():
            query = query.replace(place, value)
        lines = session.connection().exec_driver_sql(f"EXPLAIN {query.replace('$5', '64').replace('$6', '26')}")
        return "\n".join(line for [line] in lines)


def test_a_large_collection_gets_one_unless_it_holds_most(version: ModelVersion) -> None:
    update_collection_indexes(transaction, ABOVE)
    assert indexed(version) == {collection("large"): True}
    with transaction() as session:
        assert find_differences(session, ABOVE) == []


def test_the_sweep_wakes_workers_until_it_is_there(version: ModelVersion) -> None:
    before = maintenance.sweep(transaction, waker(), ABOVE)
    update_collection_indexes(transaction, ABOVE)
    with transaction() as session:
        state = partitions.find_index_state(session, version.id)
    assert state is not None
    assert (Queue.INDEX in before, maintenance.sweep(transaction, waker(), ABOVE)) == (True, [])
    assert (state.collections, 0 < state.collection_bytes < state.bytes) == (1, True)


def test_none_gets_one_unless_it_is_asked_for(version: ModelVersion) -> None:
    update_collection_indexes(transaction, settings())
    assert indexed(version) == {}


def test_searches_within_it_follow_it(version: ModelVersion) -> None:
    """Also a collection that would be scanned otherwise; as narrow a search as of all images suffices."""
    before = search("large")
    update_collection_indexes(transaction, ABOVE)
    with scanned_up_to(110):
        found, exact = search("large"), search("large", exact=True)
        other = search("most")
    assert (before.mode, found.mode, found.ef_search, other.ef_search) == ("exact", "hnsw", 64, 300)
    assert [match.image_id for match in found.matches] == [match.image_id for match in exact.matches]
    own = partitions.collection_index_name(version.id, collection("large"))
    assert own in plan(version, "large")
    assert own in plan(version, "large", "i.label = 'label 1'")
    assert partitions.index_name(version.id) in plan(version, "most")


def test_its_recall_is_measured_as_searches_use_it(version: ModelVersion) -> None:
    update_collection_indexes(transaction, ABOVE)
    report = measure_recall(transaction, k=10, sample=5, seconds=9, collection="large")
    assert (report.ef_search, report.recall >= 0.9) == (64, True)


@pytest.mark.parametrize("kept", [True, False])
def test_it_goes_when_half_of_the_images_have(version: ModelVersion, *, kept: bool) -> None:
    update_collection_indexes(transaction, ABOVE)
    large = collection("large")
    with transaction() as session:
        left = LARGE // 2 - (0 if kept else 1)
        session.execute(
            text("DELETE FROM image WHERE id IN (SELECT id FROM image WHERE collection_id = :c OFFSET :left)"),
            {"c": large, "left": left},
        )
    update_collection_indexes(transaction, ABOVE)
    assert indexed(version) == ({large: True} if kept else {})


def test_it_goes_with_the_collection_and_with_the_setting(version: ModelVersion) -> None:
    update_collection_indexes(transaction, ABOVE)
    with transaction() as session:
        session.execute(text("UPDATE collection SET deleted_at = now() WHERE name = 'large'"))
        [difference] = find_differences(session, ABOVE)
        session.rollback()
    assert difference.needless == [collection("large")]
    update_collection_indexes(transaction, settings())
    assert indexed(version) == {}


def test_what_a_killed_build_left_behind_is_not_used_and_is_replaced(version: ModelVersion) -> None:
    large = collection("large")
    with ThreadPoolExecutor(1) as other:
        with transaction() as writer:  # CONCURRENTLY waits for open transactions
            Factory(writer, start=10**6).image(vector=unit(1), version=version)
            building = other.submit(update_collection_indexes, transaction, ABOVE)
            eventually(lambda: unfinished_indexes() == 1)
            assert terminated("CREATE INDEX CONCURRENTLY%")
        with pytest.raises(NotReady):
            building.result()
    assert (indexed(version), search("large").mode) == ({large: False}, "exact")
    update_collection_indexes(transaction, ABOVE)
    assert indexed(version) == {large: True}


def test_it_is_rebuilt_as_the_index_of_all_is(version: ModelVersion) -> None:
    """It goes with the former one, and is not built while that is left out for a load."""
    bits = Hnsw(kind=IndexKind.BITS)
    update_collection_indexes(transaction, ABOVE)
    with autocommit() as session:
        assert partitions.rebuild_index(session, version.id, version.dim, memory_mb=64, processes=0, hnsw=bits)
    with transaction() as session:
        assert partitions.swap_index(session, version.id, bits)
    swapped = indexed(version)
    update_collection_indexes(transaction, ABOVE)
    with transaction() as session:
        name = partitions.collection_index_name(version.id, collection("large"))
        assert "binary_quantize" in session.scalar(
            text("SELECT pg_get_indexdef(CAST(:name AS regclass))"), {"name": name}
        )
        partitions.drop_index(session, version.id)
    left_out = indexed(version)
    update_collection_indexes(transaction, ABOVE)
    assert (swapped, left_out, indexed(version)) == ({}, {}, {})

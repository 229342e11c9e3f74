"""A page of a long list costs what the page has, not what the list has, whatever is known of the tables."""

from collections.abc import Iterator
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.integration.factory import Factory
from tests.integration.plans import Cost, counted_rows, empty_tables
from umbel.access import audit
from umbel.base.database import engine
from umbel.base.types import ItemState, JobStatus, JobType
from umbel.gallery import images
from umbel.gallery.filters import Filter
from umbel.gallery.passing import FEW
from umbel.jobs import items, jobs

MANY, LIMIT = 12_000, 10
READ = 100 * LIMIT  # rows at most, of MANY

FILL = """
INSERT INTO image (collection_id, sha256, blob_key, media_type, size, width, height, label)
SELECT :collection, sha256(concat(CAST(:collection AS text), n)::bytea), '-', 'image/jpeg', 1, 1, 1,
       CASE WHEN n <= 3 THEN :label END
FROM generate_series(1, :many) n;
"""
JOBS = """
INSERT INTO job (type, collection_id, closed) SELECT :type, :collection, true FROM generate_series(1, :many)
"""
ITEMS = """
INSERT INTO job_item (job_id, queue, state, error_code)
SELECT :job, 'single', CASE n % 3 WHEN 0 THEN 'failed' WHEN 1 THEN 'indexed' ELSE 'cancelled' END,
       CASE n % 3 WHEN 0 THEN 'broken' END
FROM generate_series(1, :many) n
"""


@pytest.fixture(scope="module", params=["never analyzed", "analyzed"])
def filled(request: pytest.FixtureRequest, postgres: object) -> Iterator[tuple[Session, dict[str, UUID]]]:
    """Two collections one after the other, jobs of two types, a job between others: much to pass over from either end.

    In a transaction that is never committed, and in tables that it emptied, so that no autovacuum looks at them.
    """
    with engine().connect() as connection, connection.begin() as outer, Session(connection) as session:
        empty_tables(session)
        yield session, _fill(session, Factory(session), analyzed=request.param == "analyzed")
        outer.rollback()


@pytest.fixture
def session(filled: tuple[Session, dict[str, UUID]]) -> Session:
    return filled[0]


@pytest.fixture
def gallery(filled: tuple[Session, dict[str, UUID]]) -> dict[str, UUID]:
    return filled[1]


def _fill(session: Session, make: Factory, *, analyzed: bool) -> dict[str, UUID]:
    ids = {}
    for name in ("old", "new"):
        ids[name] = make.collection(name)
        session.execute(text(FILL), {"collection": ids[name], "label": f"rare {name}", "many": MANY})
    for job_type, name in (("import", "old"), ("upload", "new"), ("upload", "new")):
        ids["job"] = make.job() if "job" in ids else make.job(job_type=JobType.REINDEX)
        session.execute(text(JOBS), {"type": job_type, "collection": ids[name], "many": MANY // 2})
    for _ in range(3):
        ids["before"], ids["between"] = ids.get("between", ids["job"]), make.job()
        session.execute(text(ITEMS), {"job": ids["between"], "many": MANY // 3})
    session.execute(
        text("INSERT INTO audit_event (actor, action, target) SELECT 'a', 'b', 'c' FROM generate_series(1, :n)"),
        {"n": MANY},
    )
    if analyzed:
        session.execute(text("ANALYZE image, job, job_item, collection, audit_event"))
    return ids


@pytest.fixture
def cost(session: Session) -> Iterator[Cost]:
    with counted_rows(session) as count:
        yield count


def middle(session: Session, table: str, condition: str, **values: Any) -> UUID:
    statement = f"SELECT id FROM {table} WHERE {condition} ORDER BY id OFFSET 2000 LIMIT 1"
    found: UUID = session.execute(text(statement), values).scalar_one()
    return found


@pytest.mark.parametrize("collection", ["old", "new", None])
@pytest.mark.parametrize("label", ["rare old", "rare new", None])
def test_images(
    session: Session, gallery: dict[str, UUID], cost: Cost, collection: str | None, label: str | None
) -> None:
    before = None if label else middle(session, "image", "collection_id = :c", c=gallery[collection or "new"])
    found, read = cost(
        lambda: images.list_images(session, collection=collection, label=label, before=before, limit=LIMIT)
    )
    there = 3 if collection is None or (label or "").endswith(collection) else 0
    assert len(found) == (there if label else LIMIT)
    assert [one.id for one in found] == sorted((one.id for one in found), reverse=True)
    assert {one.collection for one in found} <= ({collection} if collection else {"old", "new"})
    assert read <= READ


def test_images_where_all_are_in_one_collection(session: Session, make: Factory) -> None:
    with session.begin_nested() as changes:
        empty_tables(session)
        session.execute(text(FILL), {"collection": make.collection("only"), "label": "rare", "many": MANY})
        session.execute(text("ANALYZE image, collection"))
        with counted_rows(session) as cost:
            found, read = cost(lambda: images.list_images(session, collection=None, before=None, limit=LIMIT))
        changes.rollback()
    assert len(found) == LIMIT
    assert read <= READ


@pytest.mark.parametrize("collection", ["old", None])
@pytest.mark.parametrize(
    "asked",
    [
        {"label": ["rare old", "none"]},
        {"any": [{"label": {"in": ["rare old"]}}, {"metadata": {"n": 5}}]},
        {"metadata": {"n": 5}},
        {"created_at": {"lt": "2000-01-01"}},
        {"not": {"label": {"exists": True}}},
        {"created_at": {"gte": "2000-01-01"}},
    ],
)
def test_images_that_pass_a_filter(
    session: Session, gallery: dict[str, UUID], cost: Cost, collection: str | None, asked: dict[str, Any]
) -> None:
    """Which index leads to few is known once the table was analyzed; until then the collection is read."""
    analyzed = session.scalar(text("SELECT reltuples > 0 FROM pg_class WHERE oid = CAST('image' AS regclass)"))
    many, few = "exists" in str(asked) or "gte" in str(asked), "rare" in str(asked)
    there = LIMIT if many else 3 if few else 0
    before = middle(session, "image", "collection_id = :c", c=gallery["old"]) if many else None
    passing = Filter.model_validate(asked)
    found, read = cost(
        lambda: images.list_images(session, collection=collection, asked=passing, before=before, limit=LIMIT)
    )
    assert len(found) == there
    if analyzed:
        assert read <= READ + (FEW if "gte" in str(asked) else 0)  # which an index would find, if they were fewer


@pytest.mark.parametrize("state", [None, ItemState.FAILED])
def test_items_of_a_job(session: Session, gallery: dict[str, UUID], cost: Cost, state: str | None) -> None:
    job_id = gallery["before"]
    after = middle(session, "job_item", "job_id = :job", job=job_id)
    found, read = cost(lambda: items.list_items(session, job_id, state=state, after=after, limit=LIMIT))
    assert len(found) == LIMIT
    expected = session.scalars(
        text("""
            SELECT id FROM job_item WHERE job_id = :job AND id > :after AND state = coalesce(:state, state)
            ORDER BY id LIMIT :limit
        """),
        {"job": job_id, "after": after, "state": state, "limit": LIMIT},
    )
    assert [one.id for one in found] == list(expected)
    assert read <= READ


@pytest.mark.parametrize("within", [None, ["old"], ["new", "default"]])
def test_jobs(
    session: Session,
    gallery: dict[str, UUID],
    cost: Cost,
    within: list[str] | None,
) -> None:
    for status, job_type in product([None, JobStatus.SUCCEEDED, JobStatus.RUNNING], [None, *JobType]):
        asked: dict[str, Any] = {"status": status, "job_type": job_type, "within": within, "limit": LIMIT}
        found, read = cost(lambda asked=asked: jobs.list_jobs(session, before=None, **asked))  # type: ignore[misc]
        expected = session.scalars(
            text("""
                SELECT j.id FROM job j LEFT JOIN collection c ON c.id = j.collection_id
                WHERE j.status = coalesce(:status, j.status) AND j.type = coalesce(:job_type, j.type)
                AND (CAST(:within AS text[]) IS NULL OR c.name = ANY (:within)) ORDER BY j.id DESC LIMIT :limit
            """),
            asked,
        )
        assert [one.id for one in found] == list(expected)
        assert read <= READ, asked


def test_the_audit_log(session: Session, gallery: dict[str, UUID], cost: Cost) -> None:
    before = middle(session, "audit_event", "true")
    found, read = cost(lambda: audit.list_events(session, before=before, limit=LIMIT))
    assert (len(found), read <= READ) == (LIMIT, True)

"""Items: the rows of the ledger. Added, finished, failed. All of a job's: umbel/jobs/settling.py; leases: claims.py."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session, undefer

from umbel.base.pages import page_ids
from umbel.base.tables import JobItem
from umbel.base.types import ItemState, Queue


def insert_item(
    session: Session,
    job_id: UUID,
    *,
    image_id: UUID | None,
    queue: Queue,
    name: str | None,
    state: ItemState = ItemState.PENDING,
    error: tuple[str, str] | None = None,
) -> UUID:
    """Add one item; `error` (code, detail) goes with the state `failed` and with no other."""
    code, detail = error or (None, None)
    statement = insert(JobItem.__table__).values(  # type: ignore[arg-type]
        job_id=job_id,
        image_id=image_id,
        queue=queue,
        name=name,
        state=state,
        error_code=code,
        error_detail=detail,
    )
    return session.execute(statement.returning(JobItem.__table__.c.id)).scalar_one()


# By the index (job_id, state, id): a job may have a million items.
FIRST_NAMES = text("""
    SELECT job.id, first.name FROM unnest(CAST(:ids AS uuid[])) AS job(id)
    CROSS JOIN LATERAL (
        SELECT one.name FROM unnest(CAST(:states AS text[])) AS each(state)
        CROSS JOIN LATERAL (
            SELECT id, name FROM job_item WHERE job_id = job.id AND job_item.state = each.state ORDER BY id LIMIT 1
        ) AS one
        ORDER BY one.id LIMIT 1
    ) AS first
""")


def list_first_names(session: Session, job_ids: Sequence[UUID]) -> dict[UUID, str | None]:
    """The name of the first item of each job that has any."""
    if not job_ids:
        return {}
    rows = session.execute(FIRST_NAMES, {"ids": list(job_ids), "states": list(ItemState)})
    return {row.id: row.name for row in rows}


def lock_items(session: Session, items: Sequence[UUID]) -> None:
    """Lock items, then the jobs that count them, each in the order of their ids.

    For a transaction that changes items by more than one statement: each statement's trigger locks jobs of its own,
    and two workers with items of the same jobs would meet crosswise.
    """
    session.execute(
        text("""
            WITH locked AS MATERIALIZED (SELECT job_id FROM job_item WHERE id = ANY (:ids) ORDER BY id FOR UPDATE)
            SELECT FROM job WHERE id IN (SELECT job_id FROM locked) ORDER BY id FOR NO KEY UPDATE
        """),
        {"ids": list(items)},
    )


def finish_items(session: Session, items: Sequence[UUID], state: ItemState) -> dict[UUID, UUID]:
    """Bring those of `items` that are still pending to `state`. Returns {item id: image id} of the ones it did."""
    rows = session.execute(
        update(JobItem)
        .where(JobItem.id.in_(items), JobItem.state == ItemState.PENDING)
        .values(state=state, finished_at=text("now()"), lease_owner=None, lease_until=None)
        .returning(JobItem.id, JobItem.image_id)
    )
    return {row.id: row.image_id for row in rows}


def fail_items(session: Session, errors: Mapping[UUID, tuple[str, str]]) -> None:
    """Bring pending items to `failed` with their (code, detail)."""
    if not errors:
        return
    session.execute(
        text("""
            UPDATE job_item SET state = 'failed', finished_at = now(), lease_owner = NULL, lease_until = NULL,
                                error_code = bad.code, error_detail = bad.detail
            FROM unnest(CAST(:ids AS uuid[]), CAST(:codes AS text[]), CAST(:details AS text[])) AS bad(id, code, detail)
            WHERE job_item.id = bad.id AND state = 'pending'
        """),
        {
            "ids": list(errors),
            "codes": [code for code, _ in errors.values()],
            "details": [detail for _, detail in errors.values()],
        },
    )


def lock_items_of_image(session: Session, image_id: UUID) -> None:
    """Lock an image's items before the image is deleted, by which the database cancels those that are pending."""
    lock_items(session, session.scalars(select(JobItem.id).where(JobItem.image_id == image_id)).all())


def list_items(session: Session, job_id: UUID, *, state: str | None, after: UUID | None, limit: int) -> list[JobItem]:
    """Up to `limit` items of a job in the order they came, after the item `after`."""
    states = list(ItemState) if state is None else [state]
    later = [] if after is None else [JobItem.id > after]
    ids = page_ids(JobItem.id, {JobItem.job_id: [job_id], JobItem.state: states}, *later, limit=limit, descending=False)
    statement = select(JobItem).options(undefer(JobItem.note)).where(JobItem.id.in_(ids)).order_by(JobItem.id)
    return list(session.scalars(statement))

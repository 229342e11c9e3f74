"""Items: the rows of the ledger. Claimed under a lease, finished or released; all times are the database's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from core.types import ItemState, Lane
from db.models import JobItem


@dataclass(frozen=True, slots=True)
class ClaimedItem:
    """An item this worker may work on until its lease runs out. attempts counts this one."""

    id: UUID
    job_id: UUID
    image_id: UUID
    collection_id: UUID
    blob_key: str
    attempts: int


def insert_item(
    session: Session,
    job_id: UUID,
    *,
    image_id: UUID | None,
    lane: Lane,
    name: str | None,
    state: ItemState = ItemState.PENDING,
    error: tuple[str, str] | None = None,
) -> UUID:
    """Add one item; `error` (code, detail) goes with the state `failed` and with no other."""
    code, detail = error or (None, None)
    statement = insert(JobItem).values(
        job_id=job_id, image_id=image_id, lane=lane, name=name, state=state, error_code=code, error_detail=detail
    )
    return session.execute(statement.returning(JobItem.id)).scalar_one()


# An item that was claimed before and not finished may be what killed its worker: it is claimed alone, so that a
# second death costs no neighbour an attempt.
CLAIM = """
WITH free AS (
    SELECT id, attempts FROM job_item
    WHERE state = 'pending' AND lane = :lane AND (lease_until IS NULL OR lease_until < now())
      AND attempts < :max_attempts AND (attempts = 0) = :fresh
    ORDER BY attempts, id LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE job_item item
SET attempts = item.attempts + 1, lease_owner = :owner, lease_until = now() + make_interval(secs => :lease_seconds)
FROM free, image
WHERE item.id = free.id AND image.id = item.image_id
RETURNING item.id, item.job_id, item.image_id, image.collection_id, image.blob_key, item.attempts
"""


def claim_items(
    session: Session, lane: Lane, *, owner: str, limit: int, lease_seconds: float, max_attempts: int
) -> list[ClaimedItem]:
    """Claim up to `limit` pending items of `lane`, oldest first; or, where none is fresh, one that is suspect."""
    common = {"lane": lane, "owner": owner, "lease_seconds": lease_seconds, "max_attempts": max_attempts}
    for fresh, most in ((True, limit), (False, 1)):
        rows = session.execute(text(CLAIM), {**common, "fresh": fresh, "limit": most}).all()
        if rows:
            return sorted((ClaimedItem(*row) for row in rows), key=lambda item: item.id)
    return []


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


def release_items(session: Session, items: Sequence[UUID], *, delay_seconds: float) -> None:
    """Give claimed items back for another try after `delay_seconds`; the attempt was not their fault."""
    if not items:
        return
    session.execute(
        text("""
            UPDATE job_item SET attempts = attempts - 1, lease_owner = NULL,
                                lease_until = now() + make_interval(secs => :delay)
            WHERE id = ANY (:ids) AND state = 'pending' AND attempts > 0
        """),
        {"ids": list(items), "delay": delay_seconds},
    )


def release_items_of(session: Session, owner: str) -> int:
    """End the leases of `owner`, whose process is known to be gone. The attempts stay counted."""
    statement = update(JobItem).where(JobItem.state == ItemState.PENDING, JobItem.lease_owner == owner)
    return session.execute(statement.values(lease_owner=None, lease_until=None)).rowcount  # type: ignore[attr-defined]


def fail_exhausted_items(session: Session, max_attempts: int) -> int:
    """Fail the items that took their worker down, or its lease to the end, `max_attempts` times."""
    result = session.execute(
        text("""
            UPDATE job_item SET state = 'failed', finished_at = now(), lease_owner = NULL, lease_until = NULL,
                   error_code = 'poison',
                   error_detail = 'Given up: ' || attempts || ' attempts ended without an answer.'
            WHERE state = 'pending' AND attempts >= :most AND (lease_until IS NULL OR lease_until < now())
        """),
        {"most": max_attempts},
    )
    return result.rowcount  # type: ignore[attr-defined]


def list_waiting_lanes(session: Session) -> list[Lane]:
    """The lanes that have an item anyone could claim now."""
    lanes = session.scalars(
        text("""
            SELECT lane FROM (VALUES ('single'), ('bulk')) AS lanes(lane) WHERE EXISTS (
                SELECT FROM job_item i WHERE i.state = 'pending' AND i.lane = lanes.lane
                AND (lease_until IS NULL OR lease_until < now()))
        """)
    )
    return [Lane(lane) for lane in lanes]


def cancel_items_of_image(session: Session, image_id: UUID) -> None:
    """An image that goes away leaves no item pending; a worker that holds one finds it cancelled.

    All its items are locked, since removing the image afterwards changes them once more.
    """
    lock_items(session, session.scalars(select(JobItem.id).where(JobItem.image_id == image_id)).all())
    session.execute(
        update(JobItem)
        .where(JobItem.image_id == image_id, JobItem.state == ItemState.PENDING)
        .values(state=ItemState.CANCELLED, finished_at=text("now()"), lease_owner=None, lease_until=None)
    )


def find_job_of_image(session: Session, image_id: UUID) -> tuple[UUID, ItemState] | None:
    """The newest job that embeds, or embedded, the image; and how far it is."""
    row = session.execute(
        select(JobItem.job_id, JobItem.state)
        .where(JobItem.image_id == image_id, JobItem.state != ItemState.DUPLICATE)
        .order_by(JobItem.id.desc())
        .limit(1)
    ).first()
    return row and (row[0], ItemState(row[1]))


def list_items(session: Session, job_id: UUID, *, state: str | None, after: UUID | None, limit: int) -> list[JobItem]:
    """Up to `limit` items of a job in the order they came, after the item `after`."""
    statement = select(JobItem).where(JobItem.job_id == job_id).order_by(JobItem.id).limit(limit)
    if state is not None:
        statement = statement.where(JobItem.state == state)
    if after is not None:
        statement = statement.where(JobItem.id > after)
    return list(session.scalars(statement))

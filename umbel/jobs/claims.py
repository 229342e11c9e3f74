"""Claims: items taken under a lease (umbel/jobs/leases.py). All times are the database's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text, update
from sqlalchemy.orm import Session

from umbel.base import tallies
from umbel.base.tables import JobItem
from umbel.base.tallies import Counted
from umbel.base.types import ItemState, Queue
from umbel.jobs.positions import Positions

RETRY_SECONDS = 2.0  # before what cannot be reached is tried again; doubled each time
LONGEST_DELAY = 60.0  # seconds between two tries of what cannot be reached: after an outage, work goes on this soon


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """An item that this worker may work on until its lease runs out. attempts counts this one."""

    id: UUID
    job_id: UUID
    collection_id: UUID
    attempts: int
    retries: int = 0
    request_id: str | None = None  # of the request that its job comes from
    traceparent: str | None = None
    waited: float = 0.0  # seconds since it was made


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedItem(Claimed):
    """An item whose image is stored. version_id: the one version to embed it with; None: every maintained version."""

    image_id: UUID
    blob_key: str
    version_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedEntry(Claimed):
    """An item whose image is to be read from its job's source."""

    collection: str
    name: str | None
    locator: str
    label: str | None
    external_id: str | None
    meta: dict[str, Any]


# attempts counts the times an item was claimed and did not come back: what was claimed before may be what killed its
# worker. Items that are new come in batches, those claimed before apart (see `claim_again`).
# What is paused, cancelled or tried again and has not settled is not claimed. An array of these few jobs leaves the
# order to the index.
CLAIM = """
WITH free AS (
    SELECT id FROM job_item
    WHERE state = 'pending' AND NOT paused AND queue = :queue AND (lease_until IS NULL OR lease_until < now())
      AND attempts BETWEEN :least AND :most AND (attempts, retries, id) > (:after_attempts, :after_retries, :after_id)
      AND job_id <> ALL (ARRAY(SELECT id FROM job WHERE settling AND (paused OR cancelling OR retrying))) {condition}
    ORDER BY attempts, retries, id LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE job_item item
SET attempts = item.attempts + 1, lease_owner = :owner, lease_until = now() + make_interval(secs => :lease_seconds)
"""
CLAIMED = """
RETURNING item.id, item.job_id, item.attempts, item.retries, job.request_id, job.traceparent,
          extract(epoch FROM now() - item.created_at)::float8 AS waited
"""
CLAIM_ITEMS = f"""
{CLAIM.format(condition="")} FROM free, image, job
WHERE item.id = free.id AND image.id = item.image_id AND job.id = item.job_id
{CLAIMED}, item.image_id, image.collection_id, image.blob_key,
CASE WHEN item.queue = 'reindex' THEN job.model_version_id END AS version_id
"""
# By source, with an index of their own: those of one that is slow or away keep no others from being claimed.
OF_SOURCE = "AND job_id = :job_id AND queue = 'fetch'"
CLAIM_ENTRIES = f"""
{CLAIM.format(condition=OF_SOURCE)} FROM free, job, collection
WHERE item.id = free.id AND job.id = item.job_id AND collection.id = job.collection_id
{CLAIMED}, collection.id AS collection_id, collection.name AS collection, item.name, item.locator, item.label,
item.external_id, coalesce(item.metadata, '{{}}') AS meta
"""


def claim_items(
    session: Session,
    queue: Queue,
    *,
    owner: str,
    limit: int,
    lease_seconds: float,
    positions: Positions | None = None,
    job_id: UUID | None = None,
) -> list[Any]:
    """Claim up to `limit` pending items of `queue` that were never claimed before, oldest first.

    They are ClaimedEntry in the queue `fetch`, all of the job `job_id`, and ClaimedItem in all others. positions: where
    the caller's claims ended.
    """
    lease = {"owner": owner, "lease_seconds": lease_seconds, "job_id": job_id}
    return _claim(session, queue, lease, positions or Positions(), attempts=(0, 0), limit=limit)


def claim_again(
    session: Session,
    queue: Queue,
    *,
    owner: str,
    limit: int,
    lease_seconds: float,
    max_attempts: int,
    positions: Positions | None = None,
    job_id: UUID | None = None,
) -> list[Any]:
    """Claim items that were claimed before and not finished: first an eighth of a batch together, at the end one alone.

    So the batch that killed a worker is bisected: at an item's last attempt no other item can be to blame for a death.
    """
    lease = {"owner": owner, "lease_seconds": lease_seconds, "job_id": job_id}
    last, positions = max_attempts - 1, positions or Positions()
    together = _claim(session, queue, lease, positions, attempts=(1, last - 1), limit=max(1, limit // 8))
    return together or _claim(session, queue, lease, positions, attempts=(max(1, last), last), limit=1)


def _claim(
    session: Session,
    queue: Queue,
    lease: dict[str, Any],
    positions: Positions,
    *,
    attempts: tuple[int, int],
    limit: int,
) -> list[ClaimedItem | ClaimedEntry]:
    """Claim items that have had as many attempts as these two numbers say, or between."""
    values = {"queue": queue, "limit": limit, "least": attempts[0], "most": attempts[1], **lease}
    statement, kind = (CLAIM_ENTRIES, ClaimedEntry) if queue == Queue.FETCH else (CLAIM_ITEMS, ClaimedItem)
    with positions.of(queue, attempts).begin() as position:
        after = dict(zip(("after_attempts", "after_retries", "after_id"), position.after, strict=True))
        rows = session.execute(text(statement), {**values, **after}).mappings().all()
        claimed = sorted((kind(**row) for row in rows), key=lambda item: item.id)
        position.after = max([position.after, *((item.attempts - 1, item.retries, item.id) for item in claimed)])
    return claimed


# Of those that are reserved, in the order in which all lock items.
RESERVED = """
WITH ours AS MATERIALIZED (
    SELECT id FROM job_item
    WHERE id = ANY (:ids) AND state = 'pending' AND attempts = 0 AND lease_owner = :owner {condition}
    ORDER BY id FOR UPDATE SKIP LOCKED
)
"""
CLAIM_RESERVED = text(f"""
    {RESERVED.format(condition="AND NOT paused")}
    UPDATE job_item SET attempts = 1, lease_until = now() + make_interval(secs => :lease_seconds)
    FROM ours WHERE job_item.id = ours.id RETURNING job_item.id
""")
END_RESERVATIONS = text(f"""
    {RESERVED.format(condition="")}
    UPDATE job_item SET lease_owner = NULL, lease_until = NULL FROM ours WHERE job_item.id = ours.id
""")


def claim_reserved(session: Session, items: Sequence[UUID], *, owner: str, lease_seconds: float) -> set[UUID]:
    """Claim those of `items` that are still reserved: leased to `owner`, and never claimed."""
    values = {"ids": list(items), "owner": owner, "lease_seconds": lease_seconds}
    return set(session.scalars(CLAIM_RESERVED, values))


def end_reservations(session: Session, items: Sequence[UUID], *, owner: str) -> None:
    """Leave those of `items` that are still reserved for `owner` to anyone."""
    session.execute(END_RESERVATIONS, {"ids": list(items), "owner": owner})


def renew_leases(session: Session, items: Sequence[UUID], *, owner: str, lease_seconds: float) -> None:
    """Let the leases that `owner` still has on `items` end `lease_seconds` from now.

    Those that are locked are being stored at this moment, or taken by another worker, and need it no more.
    """
    session.execute(
        text("""
            WITH ours AS MATERIALIZED (
                SELECT id FROM job_item WHERE id = ANY (:ids) AND state = 'pending' AND lease_owner = :owner
                ORDER BY id FOR UPDATE SKIP LOCKED
            )
            UPDATE job_item SET lease_until = now() + make_interval(secs => :lease_seconds)
            FROM ours WHERE job_item.id = ours.id
        """),
        {"ids": list(items), "owner": owner, "lease_seconds": lease_seconds},
    )


def release_items(
    session: Session, items: Sequence[UUID], *, owner: str | None, delay_seconds: float, count_attempt: bool = False
) -> None:
    """Give claimed items back for another try after `delay_seconds`, which double at each one up to `LONGEST_DELAY`.

    count_attempt: the attempt may have failed through their fault; else they are tried as long as it takes.
    owner: whose leases these are; an item that another worker has claimed since is left to it. None: any worker's.
    """
    if not items:
        return
    session.execute(
        text("""
            UPDATE job_item SET attempts = attempts - :forgiven, retries = retries + :forgiven, lease_owner = NULL,
                   lease_until = now() + make_interval(secs => least(:delay * 2 ^ least(retries, 16), :longest))
            WHERE id = ANY (:ids) AND state = 'pending' AND attempts > 0
              AND (CAST(:owner AS text) IS NULL OR lease_owner = :owner)
        """),
        {
            "ids": list(items),
            "owner": owner,
            "delay": delay_seconds,
            "longest": LONGEST_DELAY,
            "forgiven": int(not count_attempt),
        },
    )


def release_items_of(session: Session, owner: str) -> int:
    """End the leases of `owner`, whose process is known to be gone. The attempts stay counted."""
    statement = update(JobItem).where(JobItem.state == ItemState.PENDING, JobItem.lease_owner == owner)
    return session.execute(statement.values(lease_owner=None, lease_until=None)).rowcount  # type: ignore[attr-defined]


def fail_exhausted_items(session: Session, max_attempts: int) -> list[Row]:
    """Fail the items that took their worker down, or its lease to the end, `max_attempts` times. Returns them."""
    rows = session.execute(
        text("""
            UPDATE job_item item SET state = 'failed', finished_at = now(), lease_owner = NULL, lease_until = NULL,
                   error_code = 'poison',
                   error_detail = 'Given up: ' || item.attempts || ' attempts ended without an answer.'
            FROM job
            WHERE job.id = item.job_id AND queue = ANY (:queues)  -- so that the index is used
              AND state = 'pending' AND NOT item.paused AND item.attempts >= :most
              AND (lease_until IS NULL OR lease_until < now())
            RETURNING item.id, item.job_id, item.image_id, item.queue, error_code, error_detail, job.request_id
        """),
        {"most": max_attempts, "queues": [str(queue) for queue in Queue]},
    )
    return list(rows)


def count_pending(session: Session) -> int:
    """How many new items wait for their embedding."""
    return tallies.count(session, Counted.PENDING, [Queue.SINGLE, Queue.BULK, Queue.FETCH])

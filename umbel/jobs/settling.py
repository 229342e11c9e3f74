"""What is asked of a whole job reaches its items a batch at a time: cancelled, tried again, paused, let go again.

The job says at once what holds, and claims heed it; its items follow. Each batch is a short transaction, so nothing
waits behind hundreds of thousands of items. What is left to do is read from the items, so a kill costs one batch.
"""

import time
from collections.abc import Callable
from uuid import UUID

import structlog
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from umbel.base.database import Transaction
from umbel.base.tables import Job
from umbel.base.types import Queue
from umbel.jobs.runner import StepHandler

log = structlog.get_logger()

BATCH = 2_000  # some hundredths of a second
TURN_SECONDS = 2.0  # of one job, before the next has its turn
PAUSE_SECONDS = 0.05  # before what others have locked is looked at again
FIRST = UUID(int=0)

# Bytes that were refused at an upload were never kept, and a listed entry's may not be read a second time once its
# source is gone: the first cannot be tried again, the second can, and will say so.
RETRIED = "state = 'failed' AND (image_id IS NOT NULL OR locator IS NOT NULL)"
# What is asked of a job: of which of its items, and what becomes of those.
CHANGES = {
    "cancel": (
        "state = 'pending'",
        "state = 'cancelled', finished_at = now(), lease_owner = NULL, lease_until = NULL",
    ),
    "retry": (
        RETRIED,
        """state = 'pending', attempts = 0, retries = 0, finished_at = NULL, error_code = NULL, error_detail = NULL,
           lease_owner = NULL, lease_until = NULL, paused = false,
           queue = CASE WHEN queue = 'change' THEN queue
                        WHEN image_id IS NULL THEN 'fetch' WHEN queue = 'fetch' THEN 'bulk' ELSE queue END""",
    ),
    # Put aside, where claims do not come past them.
    "pause": ("state = 'pending' AND NOT paused", "paused = true"),
    "resume": ("state = 'pending' AND paused", "paused = false"),
}


def settle(
    transaction: Transaction, job_id: UUID, *, seconds: float, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Bring what was asked of a job to its items until none is left, for `seconds` at most. Returns how many.

    Harmless at any time, by many at once.
    """
    until, after, reached = time.monotonic() + seconds, FIRST, 0
    while not stopping():
        with transaction() as session:
            some = settle_some(session, job_id, after)
            if not some and not _is_left(session, job_id):
                return reached
        reached += len(some)
        after = some[-1] if some else FIRST
        if time.monotonic() > until:
            break
        if not some:  # the rest is locked: it is being stored, say
            time.sleep(PAUSE_SECONDS)
    return reached


def settle_some(session: Session, job_id: UUID, after: UUID = FIRST) -> list[UUID]:
    """Bring what was asked of a job to up to `BATCH` of its items, by id, after the item `after`; these.

    Items that others have locked are left out: no batch waits for them.
    """
    change = _change(session, job_id)
    if change is None:
        return []
    which, values = CHANGES[change]
    some = session.scalars(
        text(f"""
            SELECT id FROM job_item WHERE job_id = :job AND {which} AND id > :after
            ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
        """),
        {"job": job_id, "after": after, "limit": BATCH},
    ).all()
    # Then the job, as all do; should something else be asked of it since, that holds.
    if not some or _change(session, job_id, lock=True) != change:
        return []
    session.execute(text(f"UPDATE job_item SET {values} WHERE id = ANY (:ids)"), {"ids": some})
    return list(some)


def can_be_retried(session: Session, job_id: UUID) -> bool:
    """Whether anything of what failed in a job was kept."""
    statement = text(f"SELECT EXISTS (SELECT FROM job_item WHERE job_id = :job AND {RETRIED})")
    return bool(session.scalar(statement, {"job": job_id}))


def list_unsettled_jobs(session: Session) -> list[UUID]:
    """Jobs whose items have yet to follow what was asked of them, the oldest first."""
    return list(session.scalars(select(Job.id).where(Job.settling).order_by(Job.id)))


def _change(session: Session, job_id: UUID, *, lock: bool = False) -> str | None:
    """What is to reach the items of a job next; None if nothing is."""
    statement = text(f"""
        SELECT CASE WHEN NOT settling THEN NULL WHEN cancelling THEN 'cancel' WHEN retrying THEN 'retry'
                    WHEN paused THEN 'pause' ELSE 'resume' END
        FROM job WHERE id = :id {"FOR NO KEY UPDATE" if lock else ""}
    """)
    return session.scalar(statement, {"id": job_id})


def _is_left(session: Session, job_id: UUID) -> bool:
    """Whether a job's items have yet to follow; if not, the job is settled as far as it was asked.

    Looked for without a lock, which others would wait for. Should more be asked of the job meanwhile, or more items
    come, it stays unsettled.
    """
    job = session.scalar(select(Job).where(Job.id == job_id).execution_options(populate_existing=True))
    change = _change(session, job_id)
    if job is None or change is None:
        return False
    left = text(f"SELECT EXISTS (SELECT FROM job_item WHERE job_id = :job AND {CHANGES[change][0]})")
    if session.scalar(left, {"job": job_id}):
        return True
    settled = session.execute(
        text("""
            UPDATE job SET retrying = false, settling = retrying
            WHERE id = :id AND total = :total AND (cancelling, retrying, paused) = (:cancelling, :retrying, :paused)
        """),
        {
            "id": job_id,
            "total": job.total,
            "cancelling": job.cancelling,
            "retrying": job.retrying,
            "paused": job.paused,
        },
    )
    return job.retrying or not settled.rowcount  # type: ignore[attr-defined]


class SettlingHandler(StepHandler):
    """Settles the jobs that their requests left unsettled, each in its turn."""

    queues = (Queue.MAINTENANCE,)
    alone = "umbel settling"

    def step(self) -> bool:
        """A turn of each. False if none is left, or all that is left is locked by others."""
        with self.transaction() as session:
            unsettled = list_unsettled_jobs(session)
        return sum(self._settle(job_id) for job_id in unsettled) > 0

    def _settle(self, job_id: UUID) -> int:
        reached = settle(self.transaction, job_id, seconds=TURN_SECONDS, stopping=self.stopping)
        if reached:
            log.info("job settled further", job_id=str(job_id), images=reached)
        return reached

"""What can be done to a job of any type: wait for it, close, cancel, retry, pause and resume it."""

import time
from uuid import UUID

from umbel.base.database import Transaction
from umbel.base.errors import Conflict
from umbel.base.notify import LOOK_SECONDS, Listener
from umbel.base.tables import Job
from umbel.base.types import JobType, Queue
from umbel.changes import bulk_rows
from umbel.gallery.deletion_queries import is_deleted
from umbel.imports import source_rows
from umbel.imports.sync import syncs
from umbel.insights import projection_rows
from umbel.jobs import jobs, settling
from umbel.jobs.wakeup import Waker
from umbel.models.reindexes import end_reindex
from umbel.operations.job_rules import JobAction, check_action

ITEM_QUEUES = (
    Queue.FETCH,
    Queue.BULK,
    Queue.SINGLE,
    Queue.COMPARE,
    Queue.REINDEX,
    Queue.DELETE,
    Queue.MAP,
    Queue.CHANGE,
)
AT_ONCE_SECONDS = 0.5  # in which the items of a small job follow within the request; workers go on with a sweep


def wait_for_job(transaction: Transaction, listener: Listener, job_id: UUID, seconds: float) -> Job:
    """The job, as soon as it has finished or `seconds` have passed. Raises NotFound."""
    deadline = time.monotonic() + seconds
    with listener.expecting(f"job {job_id}") as finished:
        while True:
            with transaction() as session:
                job = jobs.get_job(session, job_id)
            left = deadline - time.monotonic()
            if job.finished_at is not None or left <= 0:
                return job
            finished.wait(min(left, LOOK_SECONDS))


def close_job(transaction: Transaction, job_id: UUID) -> None:
    """Say that an import has all its pictures. Twice is harmless.

    Raises NotFound, Conflict for one whose source workers still list, and ActionRefused for what is no import.
    """
    with transaction() as session:
        check_action(session, job_id, JobAction.CLOSE)
        source = source_rows.list_sources(session, [job_id]).get(job_id)
        if source is not None and not source.done:
            raise Conflict(f"Job {job_id} is still being listed; to end it before, cancel it.")
        jobs.close_job(session, job_id)


def cancel_job(transaction: Transaction, job_id: UUID) -> None:
    """End a job where it stands: what is done stays done. A batch in hand is worked on to its end, and not stored.

    Nothing of it is begun from now on; of a large job, workers cancel the rest of the items after this has returned.
    Twice is harmless. Raises NotFound, Conflict for a job that has ended otherwise, and ActionRefused for a deletion.
    """
    with transaction() as session:  # first of all nothing more may come
        job = check_action(session, job_id, JobAction.CANCEL)
        if job.type == JobType.REINDEX:
            end_reindex(session, job)
        if job.type == JobType.MAP:
            projection_rows.end_map(session, job_id)
        if job.finished_at is not None and not job.cancelling:
            raise Conflict(f"Job {job_id} has ended already: {job.status}.")
        source_rows.end_source(session, job_id)
        bulk_rows.end_listing(session, job_id)
        jobs.close_job(session, job_id)
        jobs.change_job(session, job_id, cancelling=True, paused=False, retrying=False, settling=True)
    settling.settle(transaction, job_id, seconds=AT_ONCE_SECONDS)


def retry_job(transaction: Transaction, waker: Waker, job_id: UUID) -> None:
    """Try the failed items of a job once more; of a large job, workers bring back the rest after this has returned.

    Twice is harmless. Raises NotFound, and Conflict where nothing of what failed was kept: refused bytes have to be
    sent again; where the collection is being deleted, or the job is being cancelled.
    """
    with transaction() as session:
        job = check_action(session, job_id, JobAction.RETRY)
        if job.retrying or not job.failed:
            return
        if is_deleted(session, job.collection_id):
            raise Conflict(f"The collection of job {job_id} is being deleted.")
        _check_not_cancelling(job)
        if not settling.can_be_retried(session, job_id):
            raise Conflict("None of the failed pictures was kept: they were refused as they came. Send them again.")
        jobs.change_job(session, job_id, attempts=job.attempts + 1, cancelling=False, retrying=True, settling=True)
        source_rows.reopen_source(session, job_id)
        syncs.reopen_run(session, job_id)
        settling.settle_some(session, job_id)  # at once: from now on the job has not finished
    settling.settle(transaction, job_id, seconds=AT_ONCE_SECONDS)
    _wake(waker)


def pause_job(transaction: Transaction, job_id: UUID) -> None:
    """Let a job's items wait until it is resumed; a batch in hand is finished. Twice is harmless.

    Raises NotFound, and Conflict for a job that has ended, or is being cancelled.
    """
    _pause(transaction, job_id, paused=True)


def resume_job(transaction: Transaction, waker: Waker, job_id: UUID) -> None:
    """Go on with a paused job. Twice is harmless. Raises as `pause_job` does."""
    _pause(transaction, job_id, paused=False)
    _wake(waker)


def _pause(transaction: Transaction, job_id: UUID, *, paused: bool) -> None:
    with transaction() as session:
        job = check_action(session, job_id, JobAction.PAUSE if paused else JobAction.RESUME)
        if job.finished_at is not None:
            raise Conflict(f"Job {job_id} has ended already: {job.status}.")
        _check_not_cancelling(job)
        if job.paused != paused:
            jobs.change_job(session, job_id, paused=paused, settling=True)
    settling.settle(transaction, job_id, seconds=AT_ONCE_SECONDS)


def _check_not_cancelling(job: Job) -> None:
    if job.cancelling and job.settling:
        raise Conflict(f"Job {job.id} is being cancelled; wait until that is done.")


def _wake(waker: Waker) -> None:
    for queue in (*ITEM_QUEUES, Queue.MAINTENANCE):  # which settles what this process has left
        waker.wake(queue)

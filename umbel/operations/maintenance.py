"""The sweep: what is left behind is found and taken up again, and what is no longer needed removed."""

from umbel.access import audit, sessions
from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.settings import Settings
from umbel.base.types import Queue
from umbel.embedding import query_images
from umbel.gallery import blob_cleanups
from umbel.gallery.images_service import settle
from umbel.imports import source_rows
from umbel.jobs import claims, item_rows, job_log, job_rows, workers
from umbel.jobs.wakeup import Waker
from umbel.models.indexing import index_is_due
from umbel.models.lifecycle import drop_retired
from umbel.operations.job_actions import cancel_items

ABANDONED_SECONDS = 600
IN_DOUBT_SECONDS = 30.0  # longer than any transaction that stores a picture
SILENT_SECONDS = 24 * 3600.0  # of a worker that was killed and will not come back
ARCHIVE_SECONDS = 24 * 3600.0  # that what failed of an uploaded archive may be tried again


def sweep(transaction: Transaction, waker: Waker, blobs: Blobs, settings: Settings) -> list[Queue]:
    """Ring again for whatever waits, and tidy up after those who will not come back. Returns the queues rung."""
    with transaction() as session:
        given_up = claims.fail_exhausted_items(session, settings.max_attempts)
        job_rows.close_abandoned_jobs(session, ABANDONED_SECONDS)
        queues = claims.list_waiting_queues(session)
        query_images.delete_old_queries(session, 4 * settings.query_seconds)
        if query_images.release_unanswered_queries(session, settings.query_seconds / 3):
            queues.insert(0, Queue.QUERY)
        sessions.delete_expired_sessions(session)
        audit.delete_old_events(session, settings.audit_days)
        workers.delete_silent_workers(session, SILENT_SECONDS)
        if index_is_due(session):
            queues.append(Queue.INDEX)
        cancelled, paused = job_rows.list_unfinished_cancellations(session), job_rows.list_paused_jobs(session)
    job_log.given_up(given_up)
    for queue in queues:
        waker.wake(queue)
    for job_id in cancelled:
        cancel_items(transaction, job_id)
    for job_id in paused:
        with transaction() as session:
            item_rows.hold_items(session, job_id, held=True)
    tidy_blobs(transaction, blobs)
    drop_retired(transaction, seconds=2 * settings.query_seconds)
    return queues


def tidy_blobs(transaction: Transaction, blobs: Blobs) -> None:
    """Remove bytes that became nobody's, and uploaded archives that have served."""
    with transaction() as session:
        archives = source_rows.take_finished_archives(session, after_seconds=ARCHIVE_SECONDS)
        blob_cleanups.insert_cleanups(session, archives)
    with transaction() as session:
        settle(session, blobs, blob_cleanups.claim_old_cleanups(session, seconds=IN_DOUBT_SECONDS, limit=100))

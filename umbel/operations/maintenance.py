"""The sweep: what is left behind is found and taken up again. The cleanup: what is no longer needed is removed."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from uuid import UUID

import structlog
from prometheus_client import Gauge
from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.access import audit, sessions
from umbel.base import metrics, tallies
from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.errors import NotReady, TransientError
from umbel.base.locks import only_one
from umbel.base.settings import Settings
from umbel.base.types import Queue
from umbel.embedding import query_images
from umbel.embedding.tiles import remove_former_tiles
from umbel.events import deliveries
from umbel.events.log import delete_old_events
from umbel.gallery import blob_cleanups, trash
from umbel.gallery.blob_cleanups import clean_up_blobs
from umbel.imports import source_rows
from umbel.imports.sync import finishing, syncs
from umbel.jobs import claims, job_log, jobs, workers
from umbel.jobs.wakeup import Waker
from umbel.models.collection_indexes import find_differences
from umbel.models.indexing import find_due_index
from umbel.models.lifecycle import drop_retired, list_doomed
from umbel.operations.retention import delete_old_jobs

log = structlog.get_logger()

ABANDONED_SECONDS = 600
IN_DOUBT_SECONDS = 30.0  # longer than any transaction that stores a picture
SILENT_SECONDS = 24 * 3600.0  # of a worker that was killed and will not come back
TIDY_SECONDS = 30.0  # for blobs that have to be deleted one by one
CLEANUPS = 100  # of blobs, in one go
ARCHIVE_SECONDS = 24 * 3600.0  # that what failed of an uploaded archive may be tried again
TIMEOUTS = text("SELECT set_config('lock_timeout', '4s', true), set_config('statement_timeout', '30s', true)")


def sweep(transaction: Transaction, waker: Waker, settings: Settings) -> list[Queue]:
    """Wake workers for whatever waits, and take up what was left behind. Returns the queues in which work waits.

    One sweep runs at a time: one that comes during another returns at once. Raises NotReady, TransientError.
    """
    with only_one("umbel sweep") as ours:
        if not ours:
            return []
        with _limited(transaction) as session:
            syncs.start_due_runs(session)
            given_up = claims.fail_exhausted_items(session, settings.max_attempts)
            queues = list_waiting_queues(session)
            if query_images.release_unanswered_queries(session, settings.query_seconds / 3):
                queues.insert(0, Queue.QUERY)
            if find_due_index(session) or find_differences(session, settings):
                queues.append(Queue.INDEX)
            if deliveries.is_work_left(session):
                queues.append(Queue.EVENTS)
        job_log.given_up(given_up)
        for queue in dict.fromkeys([*queues, Queue.DELETE]):  # the cleanup is due with each sweep
            waker.wake(queue)
        with _limited(transaction) as session:
            jobs.close_abandoned_jobs(session, ABANDONED_SECONDS)
        with _limited(transaction) as session:
            query_images.delete_old_queries(session, 4 * settings.query_seconds)
            sessions.delete_expired_sessions(session)
            audit.delete_old_events(session, settings.audit_days)
            workers.delete_silent_workers(session, SILENT_SECONDS)
            tallies.add_up(session)
        return queues


def clean_up(transaction: Transaction, blobs: Blobs, settings: Settings) -> None:
    """Remove unused bytes, vectors of retired versions, former tiles, the old of the trash, of jobs and events.

    What fails is left to the next.
    """
    chores: dict[str, Callable[[], object]] = {  # which return False where they leave some to the next
        "blobs": lambda: tidy_blobs(transaction, blobs),
        "versions": lambda: _drop_versions(transaction, seconds=2 * settings.query_seconds),
        "tiles": lambda: remove_former_tiles(transaction),
        "trash": lambda: trash.purge_old(transaction, blobs, settings.trash_days),
        "jobs": lambda: delete_old_jobs(transaction, settings.job_days),
        "events": lambda: delete_old_events(transaction, settings.event_days),
    }
    for name, chore in chores.items():
        complete = _last_complete(name)
        try:
            if chore() is not False:
                complete.set_to_current_time()
        except (NotReady, TransientError) as error:
            log.warning("left to the next cleanup", error=error.detail)


def _drop_versions(transaction: Transaction, *, seconds: float) -> bool:
    """Remove the vectors of versions that were retired `seconds` ago. Returns whether none are left."""
    drop_retired(transaction, seconds=seconds)
    return not list_doomed(transaction, seconds=seconds)


@cache
def _last_complete(of: str) -> Gauge:
    """The gauge of a chore, which counts from its first use: what was left by then is not complete either."""
    gauge = metrics.CLEANED_UP.labels(of)
    gauge.set_to_current_time()
    return gauge


def tidy_blobs(transaction: Transaction, blobs: Blobs) -> bool:
    """Remove bytes that nothing refers to any more, and uploaded archives that have served. Returns whether none is
    left."""
    with transaction() as session:
        archives = source_rows.take_finished_archives(session, after_seconds=ARCHIVE_SECONDS)
        blob_cleanups.insert_cleanups(session, archives)
    with transaction() as session:
        old = blob_cleanups.claim_old_cleanups(session, seconds=IN_DOUBT_SECONDS, limit=CLEANUPS)
    cleanups = [each.id for each in old]
    try:
        _clean_up(transaction, blobs, cleanups)
        return len(cleanups) < CLEANUPS
    except TransientError:  # one that cannot be deleted keeps neither the others nor those after them
        until = time.monotonic() + TIDY_SECONDS
        for cleanup in cleanups:
            if time.monotonic() > until:  # a store that hangs; those that were tried come last the next time
                break
            try:
                _clean_up(transaction, blobs, [cleanup])
            except TransientError as error:
                log.warning("a blob cannot be deleted now", error=error.detail)
                with transaction() as session:
                    blob_cleanups.postpone_cleanup(session, cleanup)
        return False


def list_waiting_queues(session: Session) -> list[Queue]:
    """The queues in which anyone could claim something now: an item, a source to list, a comparison to
    list, a collection to delete, images to change, a run of a sync to end, a map to compute."""
    queues = session.scalars(
        text(f"""
            SELECT queue FROM (
                VALUES ('single'), ('bulk'), ('fetch'), ('compare'), ('reindex'), ('delete'), ('map'), ('change')
            ) AS queues(queue) WHERE queue <> 'fetch' AND EXISTS (
                SELECT FROM job_item i WHERE i.state = 'pending' AND NOT i.paused AND i.queue = queues.queue
                AND (lease_until IS NULL OR lease_until < now()))
            OR queue = 'fetch' AND EXISTS ({source_rows.READY})
            OR queue = 'reindex' AND EXISTS (
                SELECT FROM reindex r JOIN job ON job.id = r.job_id
                WHERE NOT r.done AND NOT job.paused AND job.pending = 0)
            OR queue = 'compare' AND EXISTS (
                SELECT FROM job WHERE type = 'comparison' AND NOT closed AND NOT paused)
            OR queue = 'delete' AND EXISTS (
                SELECT FROM job WHERE type = 'deletion' AND NOT closed AND NOT paused)
            OR queue = 'change' AND EXISTS (
                SELECT FROM bulk_change b JOIN job ON job.id = b.job_id WHERE NOT b.listed AND NOT job.paused)
            OR queue = 'change' AND EXISTS ({finishing.READY})
            OR queue = 'map' AND EXISTS (
                SELECT FROM gallery_map m JOIN job ON job.id = m.job_id
                WHERE NOT m.done AND NOT job.paused AND NOT job.cancelling)
        """)
    )
    return [Queue(queue) for queue in queues]


@contextmanager
def _limited(transaction: Transaction) -> Iterator[Session]:
    """A transaction that waits and works no longer than a sweep may: the next one tries again."""
    with transaction() as session:
        session.execute(TIMEOUTS)
        yield session


def _clean_up(transaction: Transaction, blobs: Blobs, cleanups: Sequence[UUID]) -> None:
    with transaction() as session:
        clean_up_blobs(session, blobs, blob_cleanups.claim_cleanups(session, cleanups))

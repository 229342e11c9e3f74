"""Ledger, blobs, embeddings and index compared: every mismatch is found, and repaired on request.

Safe beside uploads and workers. What changes together is looked at in one snapshot; and what takes two looks, as a
listing of blobs and a table do, is looked at once more, so that work in flight is not taken for a mismatch.
"""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from umbel.gallery import blob_cleanups
from umbel.gallery.images_service import settle
from umbel.jobs import claims, job_rows
from umbel.jobs.jobs import ABANDONED_SECONDS
from umbel.jobs.retry import patiently
from umbel.operations import reconciliation_rows
from umbel.operations.blob_reconciliation import check_blobs, check_hashes, check_models
from umbel.operations.embedding_reconciliation import check_embeddings, check_index
from umbel.operations.mismatches import Context, Mismatches
from umbel.operations.reconciliation_rows import FIRST, Page

# Each is far above what a living scheduler and living workers leave behind.
LEASES = 10  # that an item may have lain since its lease ended
SILENCE_SECONDS = 60.0  # of a worker that is gone
IDLE_SECONDS = ABANDONED_SECONDS + 60.0
IN_DOUBT_SECONDS = 300.0
NOTES = 100  # settled in one transaction


def reconcile(context: Context) -> list[Mismatches]:
    """Every check in turn, with what it found and repaired. Raises NotReady, TransientError."""
    checks = [check_counts, check_jobs, check_items, check_cleanups, check_blobs, check_models]
    checks += [check_embeddings, check_index, *([check_hashes] if context.deep else [])]
    found = [mismatches for check in checks for mismatches in check(context)]
    if context.repair:
        _wake(context)
    return found


def check_counts(context: Context) -> list[Mismatches]:
    """Jobs whose counts are not those of their items."""
    counts = Mismatches("job_counts", "jobs that count other items than they have", "Counted again.")
    for page in context.pages("job", "Counting the items of jobs"):
        with context.transaction() as session:
            found = reconciliation_rows.list_miscounted_jobs(session, page)
        if context.repair and found:
            patiently(partial(_recount, context, page, found))
        counts.add(found, repaired=context.repair)
    return [counts]


def check_jobs(context: Context) -> list[Mismatches]:
    """Jobs that are closed though more is to come, and open though nothing is."""
    closed = Mismatches(
        "unlisted_source",
        "closed jobs whose source is not listed to its end",
        "Opened again; where the job was cancelled, the source is listed no further.",
    )
    idle = Mismatches("idle_job", "open jobs that nobody feeds", "Closed.")
    with context.transaction() as session:
        sources = reconciliation_rows.list_unlisted_sources(session, lock=context.repair)
        for job_id, cancelled in sources.items() if context.repair else ():
            reconciliation_rows.open_or_end(session, job_id, end=cancelled)
    closed.add(sources, repaired=context.repair)
    with context.transaction() as session:
        abandoned = reconciliation_rows.list_abandoned_jobs(session, IDLE_SECONDS)
        if context.repair and abandoned:
            job_rows.close_abandoned_jobs(session, IDLE_SECONDS)
    idle.add(abandoned, repaired=context.repair)
    return [closed, idle]


def check_items(context: Context) -> list[Mismatches]:
    """Items that workers took with them."""
    deserted = Mismatches("deserted_item", "items that a worker, now gone, has claimed and nobody else", "Released.")
    seconds = {"lease_seconds": LEASES * context.settings.lease_seconds, "silence_seconds": SILENCE_SECONDS}
    with context.transaction() as session:
        found = reconciliation_rows.list_deserted_items(session, **seconds, lock=context.repair)
        if context.repair:
            claims.release_items(session, found, owner=None, delay_seconds=0)
    deserted.add(found, repaired=context.repair)
    return [deserted]


def check_cleanups(context: Context) -> list[Mismatches]:
    """Bytes in doubt that no sweep has looked at."""
    doubts = Mismatches("pending_blob_cleanup", "notes of blobs in doubt that nobody settled", "Settled.")
    after = FIRST
    while True:
        with context.transaction() as session:
            notes = reconciliation_rows.list_old_cleanups(session, seconds=IN_DOUBT_SECONDS, after=after, limit=NOTES)
            if not notes:
                return [doubts]
            if context.repair:
                settle(session, context.blobs, blob_cleanups.claim_cleanups(session, [note.id for note in notes]))
        doubts.add((note.blob_key for note in notes), repaired=context.repair)
        after = notes[-1].id


def _recount(context: Context, page: Page, found: Sequence[UUID]) -> None:
    with context.transaction() as session:
        reconciliation_rows.recount_jobs(session, page, found)


def _wake(context: Context) -> None:
    """For all that waits now."""
    with context.transaction() as session:
        queues = claims.list_waiting_queues(session)
    for queue in queues:
        context.waker.wake(queue)

"""The ledger checked against itself: counts of jobs, closed jobs, claimed items, pending blob cleanups.

Each query is one statement, so one snapshot: what changes together is seen together."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.gallery import blob_cleanups
from umbel.gallery.blob_cleanups import Cleanup, clean_up_blobs
from umbel.jobs import claims, jobs
from umbel.jobs.outcomes import retry_transient
from umbel.operations.maintenance import ABANDONED_SECONDS
from umbel.operations.reconciliation.context import FIRST, Context, Mismatches, Page

# Each is far above what a healthy scheduler and healthy workers leave behind.
LEASES = 10  # how many lease times ago an item's lease must have ended
SILENCE_SECONDS = 60.0  # after which a worker counts as gone
IDLE_SECONDS = ABANDONED_SECONDS + 60.0
IN_DOUBT_SECONDS = 300.0
CLEANUPS = 100  # cleaned up in one transaction


def check_counts(context: Context) -> list[Mismatches]:
    """Jobs whose counts are not those of their items."""
    counts = Mismatches("job_counts", "jobs whose counts differ from their items", "Counted again.")
    for page in context.pages("job", "Counting the items of jobs"):
        with context.transaction() as session:
            found = list_miscounted_jobs(session, page)
        if context.repair and found:
            retry_transient(partial(_recount, context, page, found))
        counts.add(found, repaired=context.repair)
    return [counts]


def check_jobs(context: Context) -> list[Mismatches]:
    """Jobs closed before their source was listed, and open jobs that get no more items."""
    closed = Mismatches(
        "unlisted_source",
        "closed jobs whose source is not listed to its end",
        "Opened again; where the job was cancelled, the source is listed no further.",
    )
    idle = Mismatches("idle_job", "open jobs that get no more items", "Closed.")
    with context.transaction() as session:
        sources = list_unlisted_sources(session, lock=context.repair)
        for job_id, cancelled in sources.items() if context.repair else ():
            open_or_end(session, job_id, end=cancelled)
    closed.add(sources, repaired=context.repair)
    with context.transaction() as session:
        abandoned = list_abandoned_jobs(session, IDLE_SECONDS)
        if context.repair and abandoned:
            jobs.close_abandoned_jobs(session, IDLE_SECONDS)
    idle.add(abandoned, repaired=context.repair)
    return [closed, idle]


def check_items(context: Context) -> list[Mismatches]:
    """Items claimed by workers that are gone."""
    orphaned = Mismatches("orphaned_item", "items claimed by a worker that is gone", "Released.")
    seconds = {"lease_seconds": LEASES * context.settings.lease_seconds, "silence_seconds": SILENCE_SECONDS}
    with context.transaction() as session:
        found = list_orphaned_items(session, **seconds, lock=context.repair)
        if context.repair:
            claims.release_items(session, found, owner=None, delay_seconds=0)
    orphaned.add(found, repaired=context.repair)
    return [orphaned]


def check_cleanups(context: Context) -> list[Mismatches]:
    """Pending blob cleanups that no sweep has done."""
    overdue = Mismatches("pending_blob_cleanup", "overdue blob cleanups", "Done.")
    after = FIRST
    while True:
        with context.transaction() as session:
            cleanups = list_old_cleanups(session, seconds=IN_DOUBT_SECONDS, after=after, limit=CLEANUPS)
            if not cleanups:
                return [overdue]
            if context.repair:
                claimed = blob_cleanups.claim_cleanups(session, [each.id for each in cleanups])
                clean_up_blobs(session, context.blobs, claimed)
        overdue.add((each.blob_key for each in cleanups), repaired=context.repair)
        after = cleanups[-1].id


def _recount(context: Context, page: Page, found: Sequence[UUID]) -> None:
    with context.transaction() as session:
        recount_jobs(session, page, found)


# Jobs of a page whose counts are not those of their items, with what they should be.
MISCOUNTED = """
SELECT job.id, coalesce(r.total, 0) AS total, coalesce(r.pending, 0) AS pending, coalesce(r.indexed, 0) AS indexed,
       coalesce(r.duplicate, 0) AS duplicate, coalesce(r.failed, 0) AS failed, coalesce(r.cancelled, 0) AS cancelled
FROM job LEFT JOIN (
    SELECT job_id, count(*) AS total, count(*) FILTER (WHERE state = 'pending') AS pending,
           count(*) FILTER (WHERE state = 'indexed') AS indexed,
           count(*) FILTER (WHERE state = 'duplicate') AS duplicate,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           count(*) FILTER (WHERE state = 'cancelled') AS cancelled
    FROM job_item WHERE job_id > :after AND job_id <= :last GROUP BY job_id
) r ON r.job_id = job.id
WHERE job.id > :after AND job.id <= :last
  AND (job.total, job.pending, job.indexed, job.duplicate, job.failed, job.cancelled) IS DISTINCT FROM
      (coalesce(r.total, 0), coalesce(r.pending, 0), coalesce(r.indexed, 0), coalesce(r.duplicate, 0),
       coalesce(r.failed, 0), coalesce(r.cancelled, 0))
"""


def list_miscounted_jobs(session: Session, page: Page) -> list[UUID]:
    """The jobs whose counts are not those of their items."""
    return list(session.scalars(text(MISCOUNTED), page.bounds))


def recount_jobs(session: Session, page: Page, jobs: Sequence[UUID]) -> int:
    """Set the counts of `jobs`, which lie in `page`, from their items. Returns how many were wrong.

    Items are counted under the job's lock when they change: take the lock first, then a new snapshot.
    """
    ids = {"ids": list(jobs)}
    session.execute(text("SELECT FROM job WHERE id = ANY (:ids) ORDER BY id FOR NO KEY UPDATE"), ids)
    recounted = session.execute(
        text(f"""
            UPDATE job SET total = r.total, pending = r.pending, indexed = r.indexed, duplicate = r.duplicate,
                           failed = r.failed, cancelled = r.cancelled
            FROM ({MISCOUNTED} AND job.id = ANY (:ids)) r WHERE job.id = r.id
        """),
        {**page.bounds, **ids},
    )
    return recounted.rowcount  # type: ignore[attr-defined]


def list_unlisted_sources(session: Session, *, lock: bool = False) -> dict[UUID, bool]:
    """Closed jobs whose source is not at its end: {job id: whether it was to be cancelled}."""
    rows = session.execute(
        text(f"""
            SELECT s.job_id, job.cancelling FROM import_source s JOIN job ON job.id = s.job_id
            WHERE NOT s.done AND job.closed ORDER BY s.job_id {"FOR UPDATE OF s" if lock else ""}
        """)
    )
    return {row.job_id: row.cancelling for row in rows}


def open_or_end(session: Session, job_id: UUID, *, end: bool) -> None:
    """Make a job and its source agree: the source ends, or the job is open again."""
    change = "UPDATE import_source SET done = true WHERE job_id" if end else "UPDATE job SET closed = false WHERE id"
    session.execute(text(f"{change} = :id"), {"id": job_id})


def list_abandoned_jobs(session: Session, idle_seconds: float) -> list[UUID]:
    """Those that `umbel.jobs.jobs.close_abandoned_jobs` would close."""
    rows = session.scalars(
        text("""
            SELECT id FROM job WHERE NOT closed AND NOT paused
            AND type <> ALL (:unfed)
            AND changed_at < now() - make_interval(secs => :idle)
            AND NOT EXISTS (SELECT FROM import_source s WHERE s.job_id = job.id AND NOT s.done) ORDER BY id
        """),
        {"idle": idle_seconds, "unfed": list(jobs.UNFED)},
    )
    return list(rows)


def list_orphaned_items(
    session: Session, *, lease_seconds: float, silence_seconds: float, lock: bool = False
) -> list[UUID]:
    """Items whose lease ended `lease_seconds` ago, held by workers silent for `silence_seconds`.

    lock: until this transaction ends, skipping items that are being claimed.
    """
    rows = session.scalars(
        text(f"""
            SELECT i.id FROM job_item i
            WHERE i.state = 'pending' AND i.lease_owner IS NOT NULL AND NOT i.paused
              AND i.lease_until < now() - make_interval(secs => :lease)
              AND NOT EXISTS (SELECT FROM worker w WHERE w.name = i.lease_owner
                              AND w.seen_at > now() - make_interval(secs => :silence))
            ORDER BY i.id {"FOR UPDATE OF i SKIP LOCKED" if lock else ""}
        """),
        {"lease": lease_seconds, "silence": silence_seconds},
    )
    return list(rows)


def list_old_cleanups(session: Session, *, seconds: float, after: UUID, limit: int) -> list[Cleanup]:
    """Up to `limit` cleanups that are `seconds` overdue and unlocked, by id."""
    # An expedited cleanup is due at once; its id still tells its age.
    rows = session.execute(
        text("""
            SELECT id, blob_key FROM pending_blob_cleanup
            WHERE id > :after AND greatest(since, uuid_extract_timestamp(id)) < now() - make_interval(secs => :seconds)
            ORDER BY id LIMIT :limit FOR KEY SHARE SKIP LOCKED
        """),
        {"after": after, "seconds": seconds, "limit": limit},
    )
    return [Cleanup(*row) for row in rows]

"""Sources of imports: what is listed, how far, and what was found there."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, insert, select, text, update
from sqlalchemy.orm import Session

from umbel.base.errors import NotFound
from umbel.base.tables import ImportSource, Job
from umbel.base.types import JobStatus
from umbel.jobs.claims import LONGEST_DELAY, RETRY_SECONDS

LONGEST_PAUSE = 600.0  # seconds between two tries of a source


def insert_source(
    session: Session,
    job_id: UUID,
    spec: dict[str, Any],
    *,
    label_from_folder: bool,
    dry_run: bool,
    roots: Sequence[str] | None = None,
) -> None:
    """Say what the job's pictures are to be read from. roots: below which they must be; None: any import root."""
    values = {"label_from_folder": label_from_folder, "dry_run": dry_run, "roots": roots}
    session.execute(insert(ImportSource).values(job_id=job_id, spec=spec, **values))


# The sources that workers have something to do for now: to list more of them, or to read what was listed.
READY = f"""
SELECT s.job_id, s.retries > 0 AS failing FROM import_source s JOIN job ON job.id = s.job_id
WHERE job.status IN ('{JobStatus.QUEUED}', '{JobStatus.RUNNING}') AND NOT job.paused AND s.next_try <= now()
AND (NOT s.done OR EXISTS (
    SELECT FROM job_item i WHERE i.job_id = s.job_id AND i.queue = 'fetch' AND i.state = 'pending' AND NOT i.paused
    AND (i.lease_until IS NULL OR i.lease_until < now())))
AND NOT EXISTS (SELECT FROM collection c WHERE c.id = job.collection_id AND c.deleted_at IS NOT NULL)
"""


def list_ready(session: Session, *, besides: Collection[UUID]) -> list[Row]:
    """The sources, but for those `besides`, that there is something to do for: (job_id, failing), oldest first.

    failing: it could not be reached when it was last tried.
    """
    statement = text(f"{READY} AND s.job_id <> ALL (:besides) ORDER BY s.job_id")
    return list(session.execute(statement, {"besides": list(besides)}))


def find_unlisted(session: Session, job_id: UUID) -> ImportSource | None:
    """The job's source if it is not at its end and may be tried now."""
    unlisted = (ImportSource.job_id == job_id, ~ImportSource.done, ~Job.paused, ImportSource.next_try <= func.now())
    return session.scalar(select(ImportSource).join(Job, Job.id == ImportSource.job_id).where(*unlisted))


def lock_source(session: Session, job_id: UUID) -> ImportSource:
    """The job's source as it is now, locked until this transaction ends."""
    statement = select(ImportSource).where(ImportSource.job_id == job_id).with_for_update()
    return session.scalars(statement.execution_options(populate_existing=True)).one()


def is_due(session: Session, source: ImportSource) -> bool:
    """Whether the source may be tried now."""
    due = select(ImportSource.next_try <= func.clock_timestamp()).where(ImportSource.job_id == source.job_id)
    return bool(session.scalar(due))


def postpone_source(session: Session, source: ImportSource, reason: str, *, tries: int | None) -> None:
    """A locked source cannot be reached: it is tried again later, and given up when it was tried `tries` times.

    Later: after two seconds, then twice as long each time, up to ten minutes. reason: a sentence; tries: None for what
    is no fault of the source, which is tried as long as it takes.
    """
    source.retries += 1
    source.error, source.failing_since = reason, source.failing_since or func.now()
    longest = LONGEST_PAUSE if tries else LONGEST_DELAY  # after an outage of our own, work goes on soon
    source.next_try = func.now() + timedelta(seconds=min(RETRY_SECONDS * 2 ** min(source.retries - 1, 16), longest))
    session.flush()
    if tries is None or source.retries < tries:
        return
    row = ImportSource.job_id == source.job_id
    seconds = session.scalar(select(func.extract("epoch", func.now() - ImportSource.failing_since)).where(row)) or 0
    source.error = f"{reason} It was given up after {source.retries} tries in {max(1, round(seconds / 60))} min."
    source.given_up, source.next_try = True, func.now()
    session.flush()


def note_reached(session: Session, job_id: UUID) -> None:
    """The job's source can be reached."""
    failing = update(ImportSource).where(ImportSource.job_id == job_id, ImportSource.retries > 0)
    session.execute(failing.values(retries=0, error=None, failing_since=None))


def reopen_source(session: Session, job_id: UUID) -> None:
    """What was listed of a source that was given up is to be read once more."""
    given_up = update(ImportSource).where(ImportSource.job_id == job_id, ImportSource.given_up)
    session.execute(given_up.values(given_up=False, retries=0, error=None, failing_since=None, next_try=func.now()))


def get_source(session: Session, job_id: UUID) -> ImportSource:
    """Raises NotFound for a job that has no source."""
    source = session.get(ImportSource, job_id, populate_existing=True)
    if source is None:
        raise NotFound(f"Job {job_id} has no source.")
    return source


def list_sources(session: Session, jobs: Sequence[UUID]) -> dict[UUID, ImportSource]:
    """Those of `jobs` that have a source, with it."""
    return {row.job_id: row for row in session.scalars(select(ImportSource).where(ImportSource.job_id.in_(jobs)))}


def end_source(session: Session, job_id: UUID) -> None:
    """List no further; waits for a chunk that is being listed."""
    session.execute(update(ImportSource).where(ImportSource.job_id == job_id).values(done=True))


def take_finished_archives(session: Session, *, after_seconds: float, limit: int = 10) -> list[str]:
    """Blob keys of uploaded archives and lists that no import will read again; their sources forget them.

    They go with a job that has no failed items left, and after some time with one whose failed items may be retried.
    """
    rows = session.scalars(
        text("""
            WITH finished AS (
                SELECT s.job_id, s.spec ->> 'blob_key' AS blob_key FROM import_source s JOIN job ON job.id = s.job_id
                WHERE s.spec ? 'blob_key' AND job.finished_at IS NOT NULL
                  AND (job.failed = 0 OR job.finished_at < now() - make_interval(secs => :seconds))
                LIMIT :limit FOR UPDATE OF s SKIP LOCKED
            )
            UPDATE import_source s SET spec = s.spec - 'blob_key' || '{"gone": true}' FROM finished f
            WHERE s.job_id = f.job_id RETURNING f.blob_key
        """),
        {"seconds": after_seconds, "limit": limit},
    )
    return list(rows)

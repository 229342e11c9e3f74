"""Sources of imports: what is listed, how far, and what was found there."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.orm import Session

from umbel.base.errors import NotFound
from umbel.base.tables import ImportSource, Job
from umbel.jobs.claims import LONGEST_DELAY, RETRY_SECONDS


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


def claim_source(session: Session) -> ImportSource | None:
    """The oldest source that is not at its end and may be tried now, locked until this transaction ends."""
    return session.scalar(
        select(ImportSource)
        .join(Job, Job.id == ImportSource.job_id)
        .where(~ImportSource.done, ~Job.paused, ImportSource.next_try <= func.now())
        .order_by(ImportSource.job_id)
        .limit(1)
        .with_for_update(of=ImportSource, skip_locked=True)
    )


def postpone_source(session: Session, job_id: UUID) -> None:
    """Try the source again later, since it could not be reached: after two seconds, then twice as long each time."""
    delay = func.least(RETRY_SECONDS * func.power(2, func.least(ImportSource.retries, 16)), LONGEST_DELAY)
    next_try = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, delay)
    statement = update(ImportSource).where(ImportSource.job_id == job_id)
    session.execute(statement.values(retries=ImportSource.retries + 1, next_try=next_try))


def get_source(session: Session, job_id: UUID) -> ImportSource:
    """Raises NotFound for a job that has no source."""
    source = session.get(ImportSource, job_id)
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

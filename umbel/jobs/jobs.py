"""Jobs: opened, found, listed, closed, paused, cancelled. Their counts and status belong to the triggers."""

from collections.abc import Collection as Names
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Text, exists, insert, literal_column, select, text, update
from sqlalchemy.orm import Session

from umbel.base.errors import NotFound, UmbelError
from umbel.base.pages import page_ids
from umbel.base.tables import Collection, ImportSource, Job, ModelVersion, ago
from umbel.base.types import JobStatus, JobType, ModelState

# As `job_in_collection` has it: were it two columns, Postgres would take `job_by_kind` for as good an index as long as
# it knows nothing of the table, and read what all collections have.
KIND = literal_column("(job.status || ' ' || job.type)", Text)


def insert_job(session: Session, job_type: JobType, *, closed: bool, **values: Any) -> UUID:
    """A new job without items; its id. closed: all its items come in this same transaction.

    values: of its other columns. It is for the model that is active now, unless they have another or none.
    """
    active = select(ModelVersion.id).where(ModelVersion.state == ModelState.ACTIVE).scalar_subquery()
    statement = insert(Job).values(**{"model_version_id": active, **values}, type=job_type, closed=closed)
    return session.execute(statement.returning(Job.id)).scalar_one()


@dataclass(frozen=True, slots=True)
class NewUpload:
    """An image for a job. job_id: the open import that it belongs to; None: it gets a job of its own.

    duplicate: another job embeds the image.
    """

    collection_id: UUID
    image_id: UUID
    name: str | None
    job_id: UUID | None
    duplicate: bool
    request_id: str | None
    traceparent: str | None
    api_key_id: UUID | None


# As text: to build it anew for each upload would take longer than to send it.
INSERT_UPLOADS = text("""
WITH given AS MATERIALIZED (
    SELECT *, coalesce(job_id, uuidv7()) AS job
    FROM unnest(CAST(:collection_id AS uuid[]), CAST(:image_id AS uuid[]), CAST(:name AS text[]),
                CAST(:job_id AS uuid[]), CAST(:duplicate AS bool[]),
                CAST(:request_id AS text[]), CAST(:traceparent AS text[]), CAST(:api_key_id AS uuid[]))
         AS given(collection_id, image_id, name, job_id, duplicate, request_id, traceparent, api_key_id)
), opened AS (
    INSERT INTO job (id, type, collection_id, model_version_id, closed, request_id, traceparent, api_key_id)
    SELECT job, 'upload', collection_id, (SELECT id FROM model_version WHERE state = 'active'), true, request_id,
           traceparent, api_key_id
    FROM given WHERE job_id IS NULL
)
INSERT INTO job_item (job_id, image_id, queue, state, name)
SELECT job, image_id, CASE WHEN job_id IS NULL THEN 'single' ELSE 'bulk' END,
       CASE WHEN duplicate THEN 'duplicate' ELSE 'pending' END, name
FROM given RETURNING image_id, job_id
""")


def insert_uploads(session: Session, uploads: Sequence[NewUpload]) -> dict[UUID, UUID]:
    """An item for each of several images and, unless it has one, a job for the active model. Returns {image: job}."""
    if not uploads:
        return {}
    values = {field.name: [getattr(upload, field.name) for upload in uploads] for field in fields(NewUpload)}
    return {row.image_id: row.job_id for row in session.execute(INSERT_UPLOADS, values)}


def get_job(session: Session, job_id: UUID) -> Job:
    """Raises NotFound."""
    job = session.get(Job, job_id, populate_existing=True)
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    return job


def find_collection_name(session: Session, job_id: UUID) -> str | None:
    """Name of the collection that a job is about; None if there is no such job, or it is about all of them."""
    return session.scalar(select(Collection.name).join(Job, Job.collection_id == Collection.id).where(Job.id == job_id))


def list_collection_names(session: Session, job_ids: Names[UUID]) -> dict[UUID, str]:
    """Names of the collections that jobs are about, by job; without those that are about all."""
    rows = session.execute(
        select(Job.id, Collection.name).join(Collection, Job.collection_id == Collection.id).where(Job.id.in_(job_ids))
    )
    return {row.id: row.name for row in rows}


def lock_jobs(session: Session, job_ids: Names[UUID]) -> dict[UUID, Job]:
    """Those of the jobs that exist; until this transaction ends, none of them is closed."""
    # FOR KEY SHARE: in the way of closing alone. Uploads into one job must not wait for each other, and the trigger
    # that counts their items takes FOR NO KEY UPDATE, which two holders of FOR SHARE would deadlock over.
    if not job_ids:
        return {}
    locked = select(Job).where(Job.id.in_(job_ids)).order_by(Job.id).with_for_update(read=True, key_share=True)
    return {job.id: job for job in session.scalars(locked.execution_options(populate_existing=True))}


def list_jobs(
    session: Session,
    *,
    status: str | None,
    job_type: str | None,
    before: UUID | None,
    limit: int,
    within: Names[str] | None = None,
) -> list[Job]:
    """Up to `limit` jobs, newest first. within: names of collections; None: all jobs."""
    older = [] if before is None else [Job.id < before]
    if status is None and job_type is None and within is None:
        ids: Select[Any] = select(Job.id).where(*older).order_by(Job.id.desc()).limit(limit)
    else:
        statuses = list(JobStatus) if status is None else [status]
        types = list(JobType) if job_type is None else [job_type]
        groups: dict[Any, list[Any]] = {Job.status: statuses, Job.type: types}
        if within is not None:
            named = select(Collection.id).where(Collection.name.in_(within))  # also of a deletion that is under way
            kinds = [f"{one} {other}" for one, other in product(statuses, types)]
            groups = {Job.collection_id: list(session.scalars(named)), KIND: kinds}
        ids = page_ids(Job.id, groups, *older, limit=limit)
    statement = select(Job).where(Job.id.in_(ids)).order_by(Job.id.desc())
    return list(session.scalars(statement))


def close_job(session: Session, job_id: UUID) -> None:
    """No more items will come. Closing twice is harmless. Raises NotFound."""
    job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())  # waits for uploads on their way in
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    job.closed = True
    session.flush()


# Open until workers have done all that there is to do.
BULK = (JobType.CHANGE, JobType.REMOVAL, JobType.RESTORATION, JobType.PURGE, JobType.TILING)  # umbel/changes/bulk.py
UNFED = (JobType.REINDEX, JobType.DELETION, JobType.MAP, JobType.COMPARISON, JobType.SYNC, *BULK)


def close_abandoned_jobs(session: Session, idle_seconds: float) -> int:
    """Close the jobs whose sender went away: open, and nothing arrived or finished for `idle_seconds`.

    Not those that a worker lists, nor paused ones, nor those that take no uploads.
    """
    listed = exists().where(ImportSource.job_id == Job.id, ~ImportSource.done)
    fed = Job.type.not_in(UNFED)
    statement = (
        update(Job)
        .where(~Job.closed, ~Job.paused, fed, Job.changed_at < ago(idle_seconds), ~listed)
        .values(closed=True)
    )
    return session.execute(statement).rowcount  # type: ignore[attr-defined]


def change_job(session: Session, job_id: UUID, **values: Any) -> None:
    """Set columns of a job that are not its counts. Raises NotFound."""
    if not session.execute(update(Job).where(Job.id == job_id).values(values)).rowcount:  # type: ignore[attr-defined]
        raise NotFound(f"There is no job {job_id}.")


def set_error(session: Session, job_id: UUID, error: UmbelError) -> None:
    """Say why a job failed, or did not do all of what it was for. Raises NotFound."""
    change_job(session, job_id, error_code=error.code, error=error.detail)


def loads_go_on(session: Session, version_id: UUID) -> bool:
    """Whether a job that is not paused still loads vectors of the version into a partition without an index."""
    loading = Job.indexing & ~Job.paused & ((Job.pending > 0) | ~Job.closed) & (Job.model_version_id == version_id)
    return bool(session.scalar(select(exists().where(loading))))


def index_is_awaited(session: Session, version_id: UUID) -> bool:
    """Whether jobs wait for the version's index."""
    return bool(session.scalar(select(exists().where(Job.indexing, Job.model_version_id == version_id))))


def end_indexing(session: Session, version_id: UUID) -> None:
    """The version has its index: the jobs that waited for it may finish."""
    session.execute(update(Job).where(Job.indexing, Job.model_version_id == version_id).values(indexing=False))

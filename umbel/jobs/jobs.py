"""Jobs: opened, found, listed, closed, paused, cancelled. Their counts and status belong to the triggers."""

from collections.abc import Collection as Names
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, insert, select, text, update
from sqlalchemy.orm import Session

from umbel.base import origin
from umbel.base.errors import NotFound
from umbel.base.tables import Collection, ImportSource, Job, JobItem, ModelVersion
from umbel.base.types import JobType, ModelState


def insert_job(
    session: Session, job_type: JobType, *, collection_id: UUID, closed: bool, idempotency_key: str | None = None
) -> UUID:
    """A new job without items, for the active model. closed: all its items come in this same transaction."""
    active = select(ModelVersion.id).where(ModelVersion.state == ModelState.ACTIVE).scalar_subquery()
    statement = insert(Job).values(
        type=job_type,
        collection_id=collection_id,
        model_version_id=active,
        closed=closed,
        idempotency_key=idempotency_key,
    )
    return session.execute(statement.returning(Job.id)).scalar_one()


# As text: to put it together anew for each upload would take longer than to send it.
UPLOAD = text("""
    WITH new_job AS (
        INSERT INTO job (type, collection_id, model_version_id, closed, idempotency_key, request_id, traceparent)
        VALUES ('upload', :collection, (SELECT id FROM model_version WHERE state = 'active'), true, :key,
                :request, :trace)
        RETURNING id
    )
    INSERT INTO job_item (job_id, image_id, queue, state, name)
    SELECT id, CAST(:image AS uuid), 'single', 'pending', CAST(:name AS text) FROM new_job
    RETURNING job_id
""")


def insert_upload(
    session: Session, *, collection_id: UUID, image_id: UUID, name: str | None, idempotency_key: str | None
) -> UUID:
    """A job for the active model with this image as its only item, in the queue `single`. Returns the job's id."""
    values = {
        "collection": collection_id,
        "key": idempotency_key,
        "request": origin.request_id(),
        "trace": origin.traceparent(),
        "image": image_id,
        "name": name,
    }
    return session.execute(UPLOAD, values).scalar_one()


def get_job(session: Session, job_id: UUID) -> Job:
    """Raises NotFound."""
    job = session.get(Job, job_id, populate_existing=True)
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    return job


def find_collection_name(session: Session, job_id: UUID) -> str | None:
    """Name of the collection that a job is about; None if there is no such job, or it is about all of them."""
    return session.scalar(select(Collection.name).join(Job, Job.collection_id == Collection.id).where(Job.id == job_id))


def get_open_job(session: Session, job_id: UUID) -> Job | None:
    """The job, locked against being closed until this transaction ends; None if it is closed. Raises NotFound."""
    # FOR KEY SHARE: in the way of closing alone. Uploads into one job must not wait for each other, and the trigger
    # that counts their items takes FOR NO KEY UPDATE, which two holders of FOR SHARE would deadlock over.
    job = session.scalar(select(Job).where(Job.id == job_id).with_for_update(read=True, key_share=True))
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    return None if job.closed else job


def keep_open_imports(session: Session, job_ids: Names[UUID]) -> dict[UUID, Job]:
    """Those of the jobs that are imports and take pictures, locked as by `get_open_job`."""
    open_imports = select(Job).where(Job.id.in_(job_ids), Job.type == JobType.IMPORT, ~Job.closed).order_by(Job.id)
    return {job.id: job for job in session.scalars(open_imports.with_for_update(read=True, key_share=True))}


def find_job_by_idempotency_key(session: Session, key: str) -> tuple[UUID, UUID | None] | None:
    """Ids of the job made under `key` and of its image."""
    row = session.execute(
        select(Job.id, JobItem.image_id).join(JobItem, JobItem.job_id == Job.id).where(Job.idempotency_key == key)
    ).first()
    return row and (row[0], row[1])


def lock_idempotency_keys(session: Session, keys: Names[str]) -> set[str]:
    """Whoever comes with the same keys waits until this transaction ends. Returns those that a job was made under."""
    session.execute(LOCK_KEYS, {"keys": sorted(keys)})
    return {str(key) for key in session.scalars(select(Job.idempotency_key).where(Job.idempotency_key.in_(keys)))}


LOCK_KEYS = text("""
    SELECT pg_advisory_xact_lock(hashtextextended('idempotency ' || key, 0)) FROM unnest(CAST(:keys AS text[])) key
""")


def release_idempotency_key(session: Session, key: str) -> None:
    """Let a key that was used for a collection which is deleted now be used again."""
    deleted = select(Collection.id).where(Collection.deleted_at.is_not(None))
    of_deleted = update(Job).where(Job.idempotency_key == key, Job.collection_id.in_(deleted))
    session.execute(of_deleted.values(idempotency_key=None))


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
    statement = select(Job).order_by(Job.id.desc()).limit(limit)
    if status is not None:
        statement = statement.where(Job.status == status)
    if job_type is not None:
        statement = statement.where(Job.type == job_type)
    if before is not None:
        statement = statement.where(Job.id < before)
    if within is not None:
        named = select(Collection.id).where(Collection.name.in_(within))  # also of a deletion that is under way
        statement = statement.where(Job.collection_id.in_(named))
    return list(session.scalars(statement))


def close_job(session: Session, job_id: UUID) -> None:
    """No more items will come. Closing twice is harmless. Raises NotFound."""
    job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())  # waits for uploads on their way in
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    job.closed = True
    session.flush()


def close_abandoned_jobs(session: Session, idle_seconds: float) -> int:
    """Close the jobs whose sender went away: open, and nothing arrived or finished for `idle_seconds`.

    Not those that a worker lists, nor those that somebody paused, nor what nobody feeds: reindexes, deletions and maps.
    """
    idle = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, idle_seconds)
    listed = exists().where(ImportSource.job_id == Job.id, ~ImportSource.done)
    fed = Job.type.not_in((JobType.REINDEX, JobType.DELETION, JobType.MAP))
    statement = update(Job).where(~Job.closed, ~Job.paused, fed, Job.changed_at < idle, ~listed).values(closed=True)
    return session.execute(statement).rowcount  # type: ignore[attr-defined]


def change_job(session: Session, job_id: UUID, **values: Any) -> None:
    """Set columns of a job that are not its counts. Raises NotFound."""
    if not session.execute(update(Job).where(Job.id == job_id).values(values)).rowcount:  # type: ignore[attr-defined]
        raise NotFound(f"There is no job {job_id}.")


def list_unfinished_cancellations(session: Session) -> list[UUID]:
    """Jobs that were to be cancelled and have items pending still."""
    return list(session.scalars(select(Job.id).where(Job.cancelling, Job.pending > 0)))


def list_paused_jobs(session: Session) -> list[UUID]:
    """Paused jobs, some of whose items may have come in since."""
    return list(session.scalars(select(Job.id).where(Job.paused, Job.pending > 0)))


def loads_go_on(session: Session, version_id: UUID) -> bool:
    """Whether a job still loads vectors of the version into a partition without an index."""
    loading = Job.indexing & ((Job.pending > 0) | ~Job.closed) & (Job.model_version_id == version_id)
    return bool(session.scalar(select(exists().where(loading))))


def index_is_awaited(session: Session, version_id: UUID) -> bool:
    """Whether jobs wait for the version's index."""
    return bool(session.scalar(select(exists().where(Job.indexing, Job.model_version_id == version_id))))


def end_indexing(session: Session, version_id: UUID) -> None:
    """The version has its index: the jobs that waited for it may finish."""
    session.execute(update(Job).where(Job.indexing, Job.model_version_id == version_id).values(indexing=False))

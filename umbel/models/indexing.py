"""HNSW indexes around a large load into a small gallery: left out while it runs, and built after.

To search exactly is right too, and as quick as long as there are few vectors: the index is built in the midst of the
load once there are more.
"""

from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from umbel.base.database import Transaction, autocommit, translated_errors
from umbel.base.errors import TransientError
from umbel.base.settings import Settings
from umbel.base.tables import ModelVersion
from umbel.jobs import jobs
from umbel.models import partitions, versions

log = structlog.get_logger()

SMALL = 50_000  # vectors of a gallery whose index may be left out: an exact search takes some hundredths of a second
UNINDEXED = 100_000  # vectors that may be there without an index


def defer_index(session: Session, job_id: UUID, settings: Settings, *, added: int) -> None:
    """Drop the index that a job's load would mostly be spent on: one of many pictures into a small gallery.

    added: items that this transaction has given the job. It is decided once a job, as it becomes a large one: should
    anything be in the way then, such as a dump, searches are not held up by further tries.
    """
    job = jobs.get_job(session, job_id)
    version_id = job.model_version_id
    if (
        version_id is None
        or job.indexing
        or job.paused
        or not job.total - added < settings.defer_index_above <= job.total
    ):
        return
    leave_out_index(session, job_id, version_id, images=job.pending)


def leave_out_index(session: Session, job_id: UUID, version_id: UUID, *, images: int) -> None:
    """Drop a version's index, unless it has more images than those that come; the job ends when it is there again."""
    if partitions.has_index(session, version_id):
        if not partitions.has_at_most(session, version_id, min(images, SMALL)):
            return
        try:
            with session.begin_nested(), translated_errors():
                partitions.drop_index(session, version_id)
        except TransientError as error:
            log.info("index kept during a load", job_id=str(job_id), error=error.detail)
            return
        log.info("index left out during the load", job_id=str(job_id), images=images)
    jobs.change_job(session, job_id, indexing=True)


def find_due_index(session: Session) -> ModelVersion | None:
    """A version whose index is due: the active one, or an external one."""
    return next((one for one in versions.list_loaded(session) if index_is_due(session, one)), None)


def index_is_due(session: Session, version: ModelVersion) -> bool:
    """Whether the version has no index, or jobs that wait for one it has got, and no load goes on without it.

    A load goes on without it for as long as there are few vectors, and not while its job is paused.

    The second is left behind by a process that was killed right after building.
    """
    wanted = jobs.index_is_awaited(session, version.id) or not partitions.has_index(session, version.id)
    return wanted and not (
        jobs.loads_go_on(session, version.id) and partitions.has_at_most(session, version.id, UNINDEXED)
    )


def build_index(transaction: Transaction, settings: Settings) -> bool:
    """Build an index that is due, and let the jobs finish that waited for it. True if it was built.

    Harmless to call at any time, by many at once.
    """
    with transaction() as session:
        version = find_due_index(session)
    if version is None:
        return False
    with autocommit() as session:
        built = partitions.build_index(
            session,
            version.id,
            version.dim,
            memory_mb=settings.index_memory_mb,
            processes=settings.index_processes,
        )
    if built:
        log.info("index built", version=str(version.id))
        with transaction() as session:
            jobs.end_indexing(session, version.id)
    return built

"""Reindexes: begun, and ended by a cancellation. The work itself: umbel/reindex/run.py."""

from uuid import UUID

from sqlalchemy.orm import Session

from umbel.base.database import Transaction
from umbel.base.errors import Conflict, InvalidInput
from umbel.base.tables import Job, ModelVersion
from umbel.base.types import ModelState, Queue, ReindexMode, ReindexPhase
from umbel.jobs.wakeup import Waker
from umbel.models import partitions, reindexes, versions
from umbel.models.partitions import Hnsw


def begin_reindex(
    transaction: Transaction,
    waker: Waker,
    *,
    mode: ReindexMode,
    version_id: UUID | None = None,
    activate: bool = False,
    max_drop: float = 0,
    hnsw: Hnsw | None = None,
) -> UUID:
    """Have every picture embedded by a version (unset: the newest that is not active), or the active index built anew.

    activate: switch when the version passes the gate; max_drop: of R@1 and MAP@R that it lets through; hnsw: of the
    new index. Returns the job's id.
    Raises NotFound, NotReady without an active version, Conflict while a reindex runs or where there is nothing to do.
    """
    with transaction() as session:
        versions.lock_states(session)
        running = reindexes.find_running(session)
        if running is not None:
            raise Conflict(f"Job {running.job_id} is a reindex under way; wait for its end, or cancel it.")
        active = versions.get_active_version(session)
        if mode == ReindexMode.INDEX:
            job_id = _begin_index(session, active, version_id, hnsw or Hnsw(active.hnsw_m, active.hnsw_ef_construction))
        else:
            job_id = _begin_embeddings(session, active, version_id, activate=activate, max_drop=max_drop)
    waker.wake(Queue.REINDEX)
    return job_id


def end_reindex(session: Session, job: Job) -> None:
    """A cancelled reindex: its version falls behind, and keeps the vectors it has, so that another goes on from there.

    The transaction must not hold locks yet.
    """
    versions.lock_states(session)
    if not reindexes.change_reindex(session, job.id, done=True):
        return
    version = versions.get_version(session, job.model_version_id)  # type: ignore[arg-type]
    if version.state == ModelState.BACKFILLING:
        versions.change_version(session, version.id, state=ModelState.REGISTERED)
    partitions.cancel_index_builds(session, version.id)


def _begin_index(session: Session, active: ModelVersion, version_id: UUID | None, hnsw: Hnsw) -> UUID:
    if version_id not in (None, active.id):
        raise Conflict("Only the active version's index is built anew; another is built when it is reindexed.")
    if hnsw.ef_construction < 2 * hnsw.m:
        raise InvalidInput(f"ef_construction must be at least twice m, so {2 * hnsw.m} or more.")
    return reindexes.insert_reindex(
        session,
        active.id,
        mode=ReindexMode.INDEX,
        phase=ReindexPhase.EVALUATING,
        activate=True,
        max_drop=0,
        hnsw_m=hnsw.m,
        hnsw_ef_construction=hnsw.ef_construction,
    )


def _begin_embeddings(
    session: Session, active: ModelVersion, version_id: UUID | None, *, activate: bool, max_drop: float
) -> UUID:
    version = _chosen(session, version_id)
    if version.id == active.id:
        raise Conflict(f"The model {version.name!r} is active: its pictures are embedded as they come.")
    if version.state == ModelState.RETIRED:
        raise Conflict(f"The model {version.name!r} is retired; register it again first.")
    partitions.create_partition(session, version.id, version.dim, indexed=False)
    if version.state == ModelState.REGISTERED:
        partitions.drop_index(session, version.id)  # vectors first, the index after: a fraction of the time
    return reindexes.insert_reindex(
        session,
        version.id,
        mode=ReindexMode.EMBEDDINGS,
        phase=ReindexPhase.LISTING,
        activate=activate,
        max_drop=max_drop,
    )


def _chosen(session: Session, version_id: UUID | None) -> ModelVersion:
    if version_id is not None:
        return versions.get_version(session, version_id)
    waiting = [
        version
        for version in versions.list_versions(session)
        if version.state not in (ModelState.ACTIVE, ModelState.RETIRED)
    ]
    if not waiting:
        raise Conflict("There is no model version but the active one; register another first.")
    return waiting[0]

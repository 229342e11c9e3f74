"""Reindexes: begun, found, moved from phase to phase, ended by a cancellation; and the pictures that a version lacks.

The work itself: umbel/reindex/run.py.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from umbel.base.database import Transaction
from umbel.base.errors import Conflict, InvalidInput
from umbel.base.tables import Job, ModelVersion, Reindex
from umbel.base.types import JobType, ModelState, Queue, ReindexMode, ReindexPhase
from umbel.gallery.collections import NOT_DELETED
from umbel.gallery.tiles import TILED_SQL
from umbel.jobs import jobs
from umbel.jobs.wakeup import Waker
from umbel.models import partitions, versions
from umbel.models.partitions import Hnsw


def begin_reindex(
    transaction: Transaction,
    waker: Waker,
    *,
    mode: ReindexMode,
    version_id: UUID | None = None,
    activate: bool | None = None,
    max_drop: float = 0,
    hnsw: Hnsw | None = None,
) -> UUID:
    """Have every picture embedded by a version, or the active index built anew.

    version_id: None: everything is embedded anew with the active model, as a version of its own beside it.
    activate: switch when the version passes the gate; None: if it is the active model anew. max_drop: of R@1 and MAP@R
    that the gate lets through, or of the recall of an index of another kind; hnsw: of the new index. Returns the job's
    id.
    Raises NotFound, NotReady without an active version, Conflict while a reindex runs or for a version that cannot be
    reindexed; TransientError.
    """
    with transaction() as session:
        versions.lock_states(session)
        running = find_running(session)
        if running is not None:
            raise Conflict(f"Job {running.job_id} is a reindex under way; wait for its end, or cancel it.")
        active = versions.get_active_version(session)
        if mode == ReindexMode.INDEX:
            job_id = _begin_index(session, active, version_id, hnsw or Hnsw.of(active), max_drop=max_drop)
        else:
            job_id = _begin_embeddings(session, active, version_id, activate=activate, max_drop=max_drop)
    waker.wake(Queue.REINDEX)
    return job_id


def end_reindex(session: Session, job: Job) -> None:
    """A cancelled reindex: its version falls behind, and keeps the vectors it has, so that another goes on from there.

    The transaction must not hold locks yet.
    """
    versions.lock_states(session)
    if not change_reindex(session, job.id, done=True):
        return
    version = versions.get_version(session, job.model_version_id)  # type: ignore[arg-type]
    if version.state == ModelState.BACKFILLING:
        versions.change_version(session, version.id, state=ModelState.REGISTERED)
    partitions.cancel_index_builds(session, version.id)


def _begin_index(
    session: Session, active: ModelVersion, version_id: UUID | None, hnsw: Hnsw, *, max_drop: float
) -> UUID:
    if version_id not in (None, active.id):
        raise Conflict("Only the active version's index is built anew; another is built when it is reindexed.")
    if hnsw.ef_construction < 2 * hnsw.m:
        raise InvalidInput(f"ef_construction must be at least twice m, so {2 * hnsw.m} or more.")
    return _insert_reindex(
        session,
        active.id,
        mode=ReindexMode.INDEX,
        phase=ReindexPhase.EVALUATING,
        activate=True,
        max_drop=max_drop,
        **hnsw.columns,
    )


def _begin_embeddings(
    session: Session, active: ModelVersion, version_id: UUID | None, *, activate: bool | None, max_drop: float
) -> UUID:
    version = versions.get_version(session, version_id) if version_id else _begin_anew(session, active)
    if version.id == active.id:
        raise Conflict(
            f"The model {version.name!r} is active: its pictures are embedded as they come."
            " To embed all of them anew, name no model."
        )
    if version.state == ModelState.RETIRED:
        raise Conflict(f"The model {version.name!r} is retired; register it again first.")
    if version.is_external:
        raise Conflict(f"The model {version.name!r} is external: no worker can embed with it.")
    partitions.create_partition(session, version.id, version.dim, indexed=False)
    if version.state == ModelState.REGISTERED:
        partitions.drop_index(session, version.id)  # vectors first, the index after: a fraction of the time
    return _insert_reindex(
        session,
        version.id,
        mode=ReindexMode.EMBEDDINGS,
        phase=ReindexPhase.LISTING,
        activate=version_id is None if activate is None else activate,
        max_drop=max_drop,
    )


def _begin_anew(session: Session, active: ModelVersion) -> ModelVersion:
    """The active model as a version without vectors. Those of its earlier generations that fell behind are given up."""
    versions.retire_superseded(session, active)
    return versions.insert_next_generation(session, active)


def _insert_reindex(session: Session, version_id: UUID, **values: Any) -> UUID:
    """A job with its reindex; its id. The job stays open until the reindex is done."""
    job_id = jobs.insert_job(session, JobType.REINDEX, closed=False, model_version_id=version_id)
    session.execute(insert(Reindex).values(job_id=job_id, **values))
    return job_id


def find_running(session: Session) -> Reindex | None:
    """The one that is not done, if there is one."""
    return session.scalar(select(Reindex).where(~Reindex.done).execution_options(populate_existing=True))


def find_workable(session: Session) -> Reindex | None:
    """The one that is not done, unless it is paused or cancelled."""
    statement = select(Reindex).join(Job, Job.id == Reindex.job_id).where(~Reindex.done, ~Job.paused, ~Job.cancelling)
    return session.scalar(statement.execution_options(populate_existing=True))


def list_reindexes(session: Session, jobs: list[UUID]) -> dict[UUID, Reindex]:
    """The reindexes among these jobs."""
    rows = session.scalars(select(Reindex).where(Reindex.job_id.in_(jobs)).execution_options(populate_existing=True))
    return {row.job_id: row for row in rows}


def change_reindex(session: Session, job_id: UUID, **values: Any) -> bool:
    """Set columns of a reindex that is not done. False if it is, which was cancelled meanwhile, say."""
    changed = session.execute(update(Reindex).where(Reindex.job_id == job_id, ~Reindex.done).values(values))
    return bool(changed.rowcount)  # type: ignore[attr-defined]


# Pictures that are searched and cannot be found with the other version, or not by their tiles: the first of either by
# their ids. The versions are literals, so that only their own partitions are looked into.
LACKING = " UNION ".join(
    f"""(
        SELECT {what} FROM {table} e
        WHERE e.model_version_id = '{{active}}' AND e.image_id > :after AND e.collection_id {within}
          AND NOT EXISTS (SELECT FROM {table} o WHERE o.model_version_id = '{{other}}' AND o.image_id = e.image_id)
          {{besides}} {{some}}
    )"""
    for what, table, within in (
        ("e.image_id", "embedding", NOT_DELETED),
        ("DISTINCT e.image_id", "tile", f"= ANY ({TILED_SQL})"),
    )
)
UNQUEUED = "AND NOT EXISTS (SELECT FROM job_item i WHERE i.image_id = e.image_id AND i.job_id = :job)"
FIRST = UUID(int=0)


def insert_lacking(
    session: Session, job_id: UUID, *, active: UUID, version_id: UUID, after: UUID | None, limit: int
) -> UUID | None:
    """Add items for the next `limit` pictures, by id, that the version lacks; the last one's id, None for none.

    Not for those that the job has an item for already: it failed, or is about to be worked on.
    """
    some = "ORDER BY e.image_id LIMIT :limit"
    lacking = LACKING.format(active=active, other=version_id, besides=UNQUEUED, some=some)
    rows = session.execute(
        text(f"""
            WITH lacking AS ({lacking} ORDER BY image_id LIMIT :limit),
            queued AS (
                INSERT INTO job_item (job_id, image_id, queue, state, name)
                SELECT :job, id, 'reindex', 'pending', name FROM (
                    SELECT id, name FROM image WHERE id IN (SELECT image_id FROM lacking) ORDER BY id FOR KEY SHARE
                ) present
            )
            SELECT image_id FROM lacking ORDER BY image_id DESC LIMIT 1
        """),
        {"job": job_id, "after": after or FIRST, "limit": limit},
    )
    return rows.scalar()


def count_lacking(session: Session, *, active: UUID, version_id: UUID, most: int = 2**31 - 1) -> int:
    """How many pictures that the active version finds the other lacks, counted no further than `most`."""
    lacking = LACKING.format(active=active, other=version_id, besides="", some="LIMIT :most")
    statement = text(f"SELECT count(*) FROM ({lacking} LIMIT :most) lacking")
    return session.execute(statement, {"after": FIRST, "most": most}).scalar_one()

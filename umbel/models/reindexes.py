"""Reindexes: begun, found, moved from phase to phase; and the pictures that a model version lacks."""

from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from umbel.base.tables import Job, Reindex
from umbel.base.types import JobType
from umbel.gallery.collections import DELETED_SQL


def insert_reindex(session: Session, version_id: UUID, **values: Any) -> UUID:
    """A job with its reindex; its id. The job stays open until the reindex is done."""
    job = insert(Job).values(type=JobType.REINDEX, model_version_id=version_id, closed=False)
    job_id = session.execute(job.returning(Job.id)).scalar_one()
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


# Pictures that are searched and cannot be found with the other version. The versions are literals, so that only their
# own partitions are looked into.
LACKING = f"""
    SELECT e.image_id FROM embedding e
    WHERE e.model_version_id = '{{active}}' AND e.image_id > :after AND e.collection_id <> ALL ({DELETED_SQL})
      AND NOT EXISTS (SELECT FROM embedding o WHERE o.model_version_id = '{{other}}' AND o.image_id = e.image_id)
"""
FIRST = UUID(int=0)


def insert_lacking(
    session: Session, job_id: UUID, *, active: UUID, version_id: UUID, after: UUID | None, limit: int, paused: bool
) -> UUID | None:
    """Add items for the next `limit` pictures, by id, that the version lacks; the last one's id, None for none.

    Not for those that the job has an item for already: it failed, or is about to be worked on.
    """
    lacking = LACKING.format(active=active, other=version_id)
    rows = session.execute(
        text(f"""
            WITH lacking AS ({lacking} AND NOT EXISTS (
                SELECT FROM job_item i WHERE i.image_id = e.image_id AND i.job_id = :job
            ) ORDER BY e.image_id LIMIT :limit),
            queued AS (
                INSERT INTO job_item (job_id, image_id, queue, state, name, paused)
                SELECT :job, id, 'reindex', 'pending', name, :paused FROM (
                    SELECT id, name FROM image WHERE id IN (SELECT image_id FROM lacking) ORDER BY id FOR KEY SHARE
                ) present
            )
            SELECT image_id FROM lacking ORDER BY image_id DESC LIMIT 1
        """),
        {"job": job_id, "after": after or FIRST, "limit": limit, "paused": paused},
    )
    return rows.scalar()


def count_lacking(session: Session, *, active: UUID, version_id: UUID, most: int = 2**31 - 1) -> int:
    """How many pictures that the active version finds the other lacks, counted no further than `most`."""
    lacking = LACKING.format(active=active, other=version_id)
    statement = text(f"SELECT count(*) FROM ({lacking} LIMIT :most) lacking")
    return session.execute(statement, {"after": FIRST, "most": most}).scalar_one()

"""The k-NN graph of a collection under a model version: what is to be compared, whom it is near, what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from umbel.base import tallies
from umbel.base.copy import stage_rows
from umbel.base.tables import Comparison, Job, ModelVersion
from umbel.base.tallies import Counted
from umbel.base.types import JobStatus, JobType
from umbel.gallery import collections
from umbel.gallery.collections import scope_sql
from umbel.jobs import jobs
from umbel.models.partitions import has_index

LISTED = 2_000  # images of a comparison in one transaction
STAGED = {
    "image_id": "uuid", "collection_id": "uuid", "neighbors": "uuid[]", "distances": "float4[]",
    "pixel_similarities": "float4[]", "pixel_similarity": "float4", "voted_label": "text", "suggested_label": "text",
    "label_error_probability": "float4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Near:
    """An image with its nearest others, nearest first, and their labels."""

    image_id: UUID
    label: str | None
    neighbors: list[UUID]
    distances: list[float]
    labels: list[str | None]


@dataclass(frozen=True, slots=True)
class ComparedImage:
    """What comparing an image came to.

    pixel_similarities, in [0, 1]; label_error_probability: in [0, 1], None where no neighbor has a label.
    """

    image_id: UUID
    collection_id: UUID
    neighbors: Sequence[UUID]
    distances: Sequence[float]
    pixel_similarities: Sequence[float]
    voted_label: str | None
    suggested_label: str | None
    label_error_probability: float | None

    @property
    def pixel_similarity(self) -> float:
        """The largest of the similarities."""
        return max(self.pixel_similarities, default=0.0)


@dataclass(frozen=True, slots=True)
class Progress:
    """Of the images that have an embedding: how many were compared, and how many were not yet."""

    compared: int
    waiting: int


def find_unfinished_comparison(session: Session, collection_id: UUID | None, *, paused: bool = True) -> UUID | None:
    """A job that compares the collection, or all; for None: one that compares any. paused: may be one that is."""
    unfinished = Job.status.in_((JobStatus.QUEUED, JobStatus.RUNNING))
    statement = select(Job.id).where(Job.type == JobType.COMPARISON, unfinished)
    if not paused:
        statement = statement.where(~Job.paused)
    if collection_id is not None:
        statement = statement.where((Job.collection_id == collection_id) | Job.collection_id.is_(None))
    return session.scalar(statement.order_by(Job.id).limit(1))


def count_compared(session: Session, version_id: UUID, collection_id: UUID | None) -> Progress:
    """How far the comparison of a collection (None: of all) has come."""
    places = [f"{version_id} {each}" for each in collections.list_ids(session, collection_id)]
    compared = tallies.count(session, Counted.COMPARED, places)
    return Progress(compared, max(0, tallies.count(session, Counted.EMBEDDED, places) - compared))


def insert_comparison(
    session: Session, version_id: UUID, collection_id: UUID | None, *, again: bool
) -> tuple[UUID, int] | None:
    """A job for the images that were not compared yet, or for all; its id and how many. None for none.

    The first of them have their items; workers list the others, see `list_images`.
    """
    new = "" if again else f"AND {NOT_COMPARED}"
    where = f"e.model_version_id = '{version_id}' AND e.collection_id {scope_sql(collection_id)} {new}"
    values: dict[str, Any] = {"collection": collection_id}
    images = session.execute(text(f"SELECT count(*) FROM embedding e WHERE {where}"), values).scalar_one()
    if not images:
        return None
    job_id = jobs.insert_job(
        session, JobType.COMPARISON, closed=False, collection_id=collection_id, model_version_id=version_id
    )
    session.execute(insert(Comparison).values(job_id=job_id, again=again))
    list_images(session)
    return job_id, images


def list_images(session: Session, limit: int = LISTED) -> bool:
    """Add items for the next `limit` images, by id, of the oldest comparison that is not listed. False without one.

    The job is open until all are listed. Its row stays locked to the end of the transaction, so that one worker lists
    it at a time.
    """
    row = session.execute(
        select(Comparison, Job)
        .join(Job, Job.id == Comparison.job_id)
        .where(~Job.closed, ~Job.paused, ~Job.cancelling)
        .order_by(Job.id)
        .limit(1)
        .with_for_update(of=Comparison, skip_locked=True)
        .execution_options(populate_existing=True)
    ).first()
    if row is None:
        return False
    comparison, job = row
    new = "" if comparison.again else f"AND {NOT_COMPARED}"
    last, listed = session.execute(
        text(f"""
            WITH listed AS MATERIALIZED (
                SELECT e.image_id FROM embedding e
                WHERE e.model_version_id = '{job.model_version_id}' AND e.collection_id {scope_sql(job.collection_id)}
                  AND e.image_id > :after {new}
                ORDER BY e.image_id LIMIT :limit
            ), queued AS (
                INSERT INTO job_item (job_id, image_id, queue, state, name)
                SELECT :job, id, 'compare', 'pending', name FROM (
                    SELECT id, name FROM image WHERE id IN (SELECT image_id FROM listed) ORDER BY id FOR KEY SHARE
                ) present
            )
            SELECT (SELECT image_id FROM listed ORDER BY image_id DESC LIMIT 1), (SELECT count(*) FROM listed)
        """),
        {
            "collection": job.collection_id,
            "after": comparison.position or UUID(int=0),
            "limit": limit,
            "job": job.id,
        },
    ).one()
    if listed < limit:
        jobs.close_job(session, job.id)
    comparison.position = last
    session.flush()
    return True


# Over the embedding `e`: its image has no nearest neighbors by this version yet.
NOT_COMPARED = """NOT EXISTS (
    SELECT FROM nearest_neighbors n WHERE n.image_id = e.image_id AND n.model_version_id = e.model_version_id)"""


def collection_is_small(session: Session, version_id: UUID, collection_id: UUID, most: int) -> bool:
    """Whether at most `most` images of the collection have an embedding, looking no further than that."""
    statement = text(f"""
        SELECT count(*) <= :most FROM (
            SELECT FROM embedding WHERE model_version_id = '{version_id}' AND collection_id = :collection
            LIMIT :most + 1
        ) rows
    """)
    return bool(session.scalar(statement, {"collection": collection_id, "most": most}))


def awaits_index(session: Session, version_id: UUID, collection_id: UUID, most: int) -> bool:
    """Whether more than `most` images are to be compared and the HNSW index, left out for a load, is still to come."""
    return not has_index(session, version_id) and not collection_is_small(session, version_id, collection_id, most)


def list_nearest(
    session: Session, version: ModelVersion, collection_id: UUID, images: Sequence[UUID], *, k: int
) -> list[Near]:
    """The k images of the collection that are nearest to each of `images`, itself left out.

    Images without an embedding are left out. How they are found: `search_images`, migrations/baseline/search.sql.
    """
    rows = session.execute(
        text(f"""
            SELECT q.image_id, q.label, coalesce(near.ids, '{{}}'), coalesce(near.distances, '{{}}'),
                   coalesce(near.labels, '{{}}')
            FROM (
                SELECT e.image_id, i.label FROM embedding e JOIN image i ON i.id = e.image_id
                WHERE e.model_version_id = '{version.id}' AND e.image_id = ANY (:images)
            ) q CROSS JOIN LATERAL (
                SELECT array_agg(image_id) AS ids, array_agg(distance::real) AS distances, array_agg(label) AS labels
                FROM (
                    SELECT * FROM search_images(NULL, q.image_id, :k, version => :version, within => :collection)
                    WHERE image_id IS NOT NULL ORDER BY distance, image_id
                ) match
            ) near
        """),
        {"images": list(images), "version": version.id, "k": k, "collection": collection_id},
    )
    return [Near(*row) for row in rows]


def upsert_nearest_neighbors(session: Session, version_id: UUID, rows: Sequence[ComparedImage]) -> None:
    """Store what comparing came to, in place of what was there. Images that are gone are passed over."""
    if not rows:
        return
    stage_rows(session, "staged_nearest_neighbors", STAGED, ([getattr(row, name) for name in STAGED] for row in rows))
    columns = ", ".join(STAGED)
    session.execute(
        text(f"""
            INSERT INTO nearest_neighbors (model_version_id, {columns})
            SELECT :version, s.* FROM staged_nearest_neighbors s JOIN image i ON i.id = s.image_id
            ORDER BY s.image_id FOR KEY SHARE OF i
            ON CONFLICT (image_id, model_version_id) DO UPDATE SET
                neighbors = excluded.neighbors, distances = excluded.distances,
                pixel_similarities = excluded.pixel_similarities,
                pixel_similarity = excluded.pixel_similarity, voted_label = excluded.voted_label,
                suggested_label = excluded.suggested_label, 
                label_error_probability = excluded.label_error_probability, compared_at = now()
        """),
        {"version": version_id},
    )

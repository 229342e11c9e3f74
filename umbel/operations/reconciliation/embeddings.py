"""Images checked against their embeddings and the index: what searches miss, or find slowly, without a failed item."""

from collections.abc import Collection, Sequence
from functools import partial
from uuid import UUID

from sqlalchemy import exists, select, text
from sqlalchemy.orm import Session

from umbel.base.tables import Job, ModelVersion, ago
from umbel.base.types import JobType
from umbel.embedding.tiles import UNTILED
from umbel.jobs import jobs
from umbel.jobs.outcomes import retry_transient
from umbel.models import partitions, versions
from umbel.models.indexing import build_index, defer_index, index_is_due
from umbel.models.partitions import find_index_progress
from umbel.operations.reconciliation.context import Context, Mismatches, Page

QUEUED = "Queued in a new job of the type repair."
INDEX_GRACE_SECONDS = 300.0  # for an index that was deferred during a load


def check_embeddings(context: Context) -> list[Mismatches]:
    """Images without a sound embedding of the active model version, or of the standby.

    A repair embeds them in a job of its own, with every maintained version.
    """
    behind = Mismatches("standby_behind", "images that the standby model lacks", QUEUED)
    never = Mismatches("no_embedding", "images never embedded by the active model", QUEUED)
    lost = Mismatches("lost_embedding", "images marked indexed without an embedding", QUEUED)
    untiled = Mismatches("no_tiles", "images without the tiles that their collection asks for", QUEUED)
    wrong = Mismatches("wrong_vector", "embeddings of a wrong width or not of length 1", f"Removed. {QUEUED}")
    with context.transaction() as session:
        version = versions.find_active_version(session)
        standby = versions.find_standby_version(session)
    if version is not None:
        repair = _RepairJob(context, version)
        for page in context.pages("image", "Looking for embeddings"):
            with context.transaction() as session:
                bare = list_unembedded_images(session, version.id, page)
                vectors = list_wrong_vectors(session, version, page)
                lacking = list_lacking(session, version.id, standby.id, page) if standby else []
                bare_tiles = list_untiled(session, page, without={*bare, *vectors, *lacking})
            if context.repair and (bare or vectors or lacking or bare_tiles):
                repair.add(page, [*bare, *lacking, *bare_tiles])
            behind.add(lacking, repaired=context.repair)
            never.add((image for image, had_one in bare.items() if not had_one), repaired=context.repair)
            lost.add((image for image, had_one in bare.items() if had_one), repaired=context.repair)
            untiled.add(bare_tiles, repaired=context.repair)
            wrong.add(vectors, repaired=context.repair)
        repair.close()
    return [never, lost, wrong, behind, untiled]


def check_index(context: Context) -> list[Mismatches]:
    """The active version's HNSW index, and the jobs that wait for it."""
    index = Mismatches(
        "no_index", "model versions without a valid HNSW index", "Built; searches scan exactly till then."
    )
    waiting = Mismatches("index_awaited", "jobs that wait for an index that is there", "Finished.")
    with context.transaction() as session:
        version = versions.find_active_version(session)
        if version is None:
            return [index, waiting]
        due = not partitions.has_index(session, version.id) and index_is_due(session, version)
        due = due and not index_is_on_its_way(session, version.id, seconds=INDEX_GRACE_SECONDS)
        found = list_jobs_waiting_for_index(session, version.id, seconds=INDEX_GRACE_SECONDS)
        if found and not due and partitions.has_index(session, version.id):
            if context.repair:
                jobs.end_indexing(session, version.id)
            waiting.add(found, repaired=context.repair)
    if due:
        with context.watch("Building the index", None):
            built = context.repair and build_index(context.transaction, context.settings)
        index.add([version.id], repaired=built)
    return [index, waiting]


class _RepairJob:
    """The job that embeds again, made when the first image needs it."""

    def __init__(self, context: Context, version: ModelVersion) -> None:
        self._context, self._version = context, version
        self._id: UUID | None = None

    def add(self, page: Page, images: Sequence[UUID]) -> None:
        """Queue `images` and those of the page whose vectors are wrong; the wrong vectors are deleted."""
        if self._id is None:
            with self._context.transaction() as session:
                self._id = jobs.insert_job(session, JobType.REPAIR, closed=False, model_version_id=self._version.id)
        retry_transient(partial(self._add, self._id, page, images))

    def close(self) -> None:
        if self._id is not None:
            with self._context.transaction() as session:
                jobs.close_job(session, self._id)

    def _add(self, job_id: UUID, page: Page, images: Sequence[UUID]) -> None:
        with self._context.transaction() as session:
            cleared = delete_wrong_vectors(session, self._version, page)
            added = queue_images(session, job_id, [*images, *cleared])
            defer_index(session, job_id, self._context.settings, added=added)


def list_unembedded_images(session: Session, version_id: UUID, page: Page) -> dict[UUID, bool]:
    """Images without an embedding of the version, a pending item, or a failed last attempt.

    {image id: whether an item says that it had one}.
    """
    rows = session.execute(
        text(f"""
            WITH bare AS MATERIALIZED (
                SELECT id FROM image WHERE id > :after AND id <= :last AND NOT EXISTS (
                    SELECT FROM embedding e WHERE e.model_version_id = '{version_id}' AND e.image_id = image.id)
            )
            SELECT bare.id, newest.model_version_id IS NOT DISTINCT FROM '{version_id}' AS lost
            FROM bare LEFT JOIN LATERAL (
                SELECT i.state, job.model_version_id FROM job_item i JOIN job ON job.id = i.job_id
                WHERE i.image_id = bare.id AND i.state <> 'duplicate' AND i.queue IN ('single', 'bulk', 'fetch')
                ORDER BY i.id DESC LIMIT 1
            ) newest ON true
            WHERE coalesce(newest.state, 'indexed') = 'indexed'
              AND NOT EXISTS (
                  SELECT FROM job_item i
                  WHERE i.image_id = bare.id AND i.state = 'pending' AND i.queue IN ('single', 'bulk', 'fetch'))
        """),
        page.bounds,
    )
    return {row.id: row.lost for row in rows}


def list_lacking(session: Session, active: UUID, version_id: UUID, page: Page) -> list[UUID]:
    """Images with an embedding of the active version and none of a maintained one."""
    return list(
        session.scalars(
            text(f"""
                SELECT e.image_id FROM embedding e
                WHERE e.model_version_id = '{active}' AND e.image_id > :after AND e.image_id <= :last AND NOT EXISTS (
                    SELECT FROM embedding o WHERE o.model_version_id = '{version_id}' AND o.image_id = e.image_id)
                AND NOT EXISTS (
                    SELECT FROM job_item i WHERE i.image_id = e.image_id AND i.state = 'pending'
                    AND i.queue <> 'compare')
            """),
            page.bounds,
        )
    )


def list_wrong_vectors(session: Session, version: ModelVersion, page: Page) -> list[UUID]:
    """Images whose embedding of the version has another width than its model's, or is not of length 1."""
    return list(session.scalars(text(f"SELECT e.image_id FROM embedding e WHERE {_wrong(version)}"), page.bounds))


def list_untiled(session: Session, page: Page, *, without: Collection[UUID]) -> list[UUID]:
    """Images that lack tiles under a maintained version, and no job is about to embed these. without: not these."""
    statement = text(f"""
        {UNTILED} AND e.image_id > :after AND e.image_id <= :last
        AND NOT EXISTS (
            SELECT FROM job WHERE type = 'tiling' AND collection_id = e.collection_id AND finished_at IS NULL)
        AND NOT EXISTS (
            SELECT FROM job_item i WHERE i.image_id = e.image_id AND i.state = 'pending' AND i.queue <> 'compare')
    """)
    found = session.scalars(statement, {**page.bounds, "versions": versions.list_maintained(session)})
    return [image_id for image_id in found if image_id not in without]


def delete_wrong_vectors(session: Session, version: ModelVersion, page: Page) -> list[UUID]:
    """Delete what `list_wrong_vectors` lists, and its nearest neighbors. Returns the images."""
    statement = text(f"""
        WITH wrong AS (DELETE FROM embedding e WHERE {_wrong(version)} RETURNING e.image_id),
        compared AS (
            DELETE FROM nearest_neighbors n USING wrong
            WHERE n.image_id = wrong.image_id AND n.model_version_id = '{version.id}')
        SELECT image_id FROM wrong
    """)
    return list(session.scalars(statement, page.bounds))


def queue_images(session: Session, job_id: UUID, images: Sequence[UUID]) -> int:
    """Queue those of `images` that still exist. Returns how many."""
    queued = session.execute(
        text("""
            INSERT INTO job_item (job_id, image_id, queue, state, name)
            SELECT :job, id, 'bulk', 'pending', name FROM image WHERE id = ANY (:ids) ORDER BY id FOR KEY SHARE
        """),
        {"job": job_id, "ids": list(images)},
    )
    return queued.rowcount  # type: ignore[attr-defined]


def index_is_on_its_way(session: Session, version_id: UUID, *, seconds: float) -> bool:
    """Whether the version's index is being built, or the load before it ended within `seconds`."""
    waiting = exists().where(Job.indexing, Job.model_version_id == version_id, Job.changed_at > ago(seconds))
    return find_index_progress(session, version_id) is not None or bool(session.scalar(select(waiting)))


def list_jobs_waiting_for_index(session: Session, version_id: UUID, *, seconds: float) -> list[UUID]:
    """Jobs that have waited for nothing but the version's index for `seconds`."""
    idle = Job.changed_at < ago(seconds)
    waiting = select(Job.id).where(Job.indexing, Job.closed, Job.pending == 0, Job.model_version_id == version_id, idle)
    return list(session.scalars(waiting.order_by(Job.id)))


def _wrong(version: ModelVersion) -> str:
    """The version is a literal, so that Postgres reads only its partition."""
    return f"""
        e.model_version_id = '{version.id}' AND e.image_id > :after AND e.image_id <= :last
        AND (vector_dims(e.vector) <> {int(version.dim)} OR NOT l2_norm(e.vector) BETWEEN 0.99 AND 1.01)
    """

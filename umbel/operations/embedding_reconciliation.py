"""Images against their embeddings and the index: what no search finds, or only slowly, though nothing has failed."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from umbel.base.tables import ModelVersion
from umbel.jobs import job_rows
from umbel.jobs.retry import patiently
from umbel.models import partitions, versions
from umbel.models.indexing import build_index, defer_index, index_is_due
from umbel.operations import reconciliation_rows
from umbel.operations.mismatches import Context, Mismatches
from umbel.operations.reconciliation_rows import Page

QUEUED = "Queued in a new job of the type repair."
PATIENCE_SECONDS = 300.0  # with the index that a load was spared


def check_embeddings(context: Context) -> list[Mismatches]:
    """Images without a sound embedding of the active model version, or of the standby.

    A repair has them embedded by a job of its own, with every maintained version.
    """
    behind = Mismatches("standby_behind", "images that the standby model lacks", QUEUED)
    never = Mismatches("no_embedding", "images never embedded by the active model", QUEUED)
    lost = Mismatches("lost_embedding", "images marked indexed without an embedding", QUEUED)
    wrong = Mismatches("wrong_vector", "embeddings of a wrong width or not of length 1", f"Removed. {QUEUED}")
    with context.transaction() as session:
        version = versions.find_active_version(session)
        standby = versions.find_standby_version(session)
    if version is not None:
        repair = _RepairJob(context, version)
        for page in context.pages("image", "Looking for embeddings"):
            with context.transaction() as session:
                bare = reconciliation_rows.list_unembedded_images(session, version.id, page)
                vectors = reconciliation_rows.list_wrong_vectors(session, version, page)
                lacking = reconciliation_rows.list_lacking(session, version.id, standby.id, page) if standby else []
            if context.repair and (bare or vectors or lacking):
                repair.add(page, [*bare, *lacking])
            behind.add(lacking, repaired=context.repair)
            never.add((image for image, had_one in bare.items() if not had_one), repaired=context.repair)
            lost.add((image for image, had_one in bare.items() if had_one), repaired=context.repair)
            wrong.add(vectors, repaired=context.repair)
        repair.close()
    return [never, lost, wrong, behind]


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
        due = not partitions.has_index(session, version.id) and index_is_due(session)
        due = due and not reconciliation_rows.index_is_on_its_way(session, version.id, seconds=PATIENCE_SECONDS)
        found = reconciliation_rows.list_jobs_waiting_for_index(session, version.id, seconds=PATIENCE_SECONDS)
        if found and not due and partitions.has_index(session, version.id):
            if context.repair:
                job_rows.end_indexing(session, version.id)
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
        """Queue `images`, and those of the page whose vectors are wrong, which go."""
        if self._id is None:
            with self._context.transaction() as session:
                self._id = reconciliation_rows.insert_repair_job(session, self._version.id)
        patiently(partial(self._add, self._id, page, images))

    def close(self) -> None:
        if self._id is not None:
            with self._context.transaction() as session:
                job_rows.close_job(session, self._id)

    def _add(self, job_id: UUID, page: Page, images: Sequence[UUID]) -> None:
        with self._context.transaction() as session:
            bared = reconciliation_rows.delete_wrong_vectors(session, self._version, page)
            reconciliation_rows.queue_images(session, job_id, [*images, *bared])
            defer_index(session, job_id, self._context.settings)

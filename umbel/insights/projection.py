"""Maps of the gallery: begun, computed, read. Similar images lie near each other; distances on the map mean no more."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from umbel.base.database import Transaction
from umbel.base.errors import Conflict, TransientError, UmbelError
from umbel.base.types import Plane, Queue, Vectors
from umbel.embedding import embeddings
from umbel.gallery import collections
from umbel.insights import projection_rows
from umbel.insights.projection_rows import ComputedMap, MapPoint, MapWork
from umbel.jobs import jobs
from umbel.jobs.outcomes import retry_transient
from umbel.jobs.runner import StepHandler
from umbel.jobs.wakeup import Waker
from umbel.models import versions

log = structlog.get_logger()

MOST = 50_000  # pictures on a map; of more, as many chosen by chance
NOTHING = "No picture has a vector yet, so there is nothing to compute."


@dataclass(frozen=True, slots=True)
class Shown:
    """A map as it is now. computed: None where there is none yet.

    new: images that have come since it was computed, as far as counts can tell.
    """

    version_id: UUID
    computed: ComputedMap | None
    points: list[MapPoint]
    new: int


def begin_map(
    transaction: Transaction, waker: Waker, *, collection: str | None, version_id: UUID | None = None
) -> UUID:
    """Have the map of a collection (None: of all) computed by a version's vectors; the job's id.

    version_id: None: the active version.
    Raises NotFound for the collection or version, NotReady without a model, Conflict while such a job is unfinished or
    where there is no picture.
    """
    with transaction() as session:
        version = versions.get_version_to_use(session, version_id)
        collection_id = collections.id_of(session, collection)
        projection_rows.lock_maps(session)
        unfinished = projection_rows.find_unfinished_map(session, version.id, collection_id)
        if unfinished is not None:
            raise Conflict(f"Job {unfinished} computes this map already; wait for its end, or cancel it.")
        if not projection_rows.count_vectors(session, version.id, collection_id):
            raise Conflict(NOTHING)
        job_id = projection_rows.insert_map(session, version.id, collection_id)
    waker.wake(Queue.MAP)
    return job_id


def find_map(session: Session, *, collection: str | None, version_id: UUID | None = None) -> Shown:
    """The newest map of a collection (None: of all) under a version (None: the active one).

    Raises NotFound, NotReady.
    """
    version = versions.get_version_to_use(session, version_id)
    collection_id = collections.id_of(session, collection)
    images = projection_rows.count_vectors(session, version.id, collection_id)
    computed = projection_rows.find_map(session, version.id, collection_id)
    if computed is None:
        return Shown(version.id, None, [], images)
    points = projection_rows.list_points(session, computed.job_id)
    gone = computed.placed - len(points)
    return Shown(version.id, computed, points, max(0, images - (computed.images - gone)))


class Project(Protocol):
    """Lays vectors out in the plane: worker.projecting.project_apart, which services are handed."""

    def __call__(self, vectors: Vectors, unwanted: Callable[[], bool], /) -> Plane | None:
        """One point a vector, in order; None if `unwanted` said so meanwhile. Raises TransientError."""
        ...


@dataclass(kw_only=True, eq=False)
class MapHandler(StepHandler):
    """Computes the maps that are asked for, one after the other. After a kill the map is computed anew."""

    project: Project

    queues = (Queue.MAP,)
    alone = "umbel map"

    def step(self) -> bool:
        """Compute a map."""
        with self.transaction() as session:
            work = projection_rows.find_workable_map(session)
            if work is None:
                return False
            jobs.change_job(session, work.job_id, started_at=datetime.now(UTC))
        with self.transaction() as session:
            version = versions.get_version(session, work.version_id)
            images = projection_rows.count_vectors(session, version.id, work.collection_id)
            ids, vectors = embeddings.list_vectors(session, version.id, work.collection_id, dim=version.dim, most=MOST)
        if not ids:
            self._end(work, Conflict(NOTHING))
            return True
        try:
            points = self.project(vectors, lambda: self.stopping() or not self._is_wanted(work))
        except TransientError as error:
            self._end(work, error)
            return True
        if points is None:
            return not self.stopping()

        def store() -> None:
            with self.transaction() as session:
                if projection_rows.store_map(session, work, ids, points, images=images):
                    jobs.close_job(session, work.job_id)

        retry_transient(store)
        log.info("map computed", job=str(work.job_id), images=len(ids))
        return True

    def _is_wanted(self, work: MapWork) -> bool:
        with self.transaction() as session:
            return projection_rows.is_wanted(session, work.job_id)

    def _end(self, work: MapWork, error: UmbelError) -> None:
        with self.transaction() as session:
            projection_rows.end_map(session, work.job_id)
            jobs.close_job(session, work.job_id)
            jobs.set_error(session, work.job_id, error)

"""Maps of the gallery: begun, found, filled with points, read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.orm import Session

from umbel.base import tallies
from umbel.base.tables import GalleryMap, Job
from umbel.base.tallies import Counted
from umbel.base.types import JobType, Plane
from umbel.gallery import collections
from umbel.gallery.collections import NOT_DELETED, scope_sql


@dataclass(frozen=True, slots=True)
class MapWork:
    """A map that is to be computed: of a collection's pictures, or of all (None), under a model version."""

    job_id: UUID
    version_id: UUID
    collection_id: UUID | None


@dataclass(frozen=True, slots=True)
class MapPoint:
    image_id: UUID
    x: float
    y: float
    label: str | None


@dataclass(frozen=True, slots=True)
class ComputedMap:
    """A map as it was computed. placed: points that it has, also of images that are gone; images: it speaks for."""

    job_id: UUID
    computed_at: datetime
    images: int
    placed: int


def lock_maps(session: Session) -> None:
    """Other transactions that begin a map wait until this one ends."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtext("begin map"))))


def find_unfinished_map(session: Session, version_id: UUID, collection_id: UUID | None) -> UUID | None:
    """The job that is to compute this very map."""
    same = (Job.model_version_id == version_id, Job.collection_id.is_not_distinct_from(collection_id))
    statement = select(Job.id).join(GalleryMap, GalleryMap.job_id == Job.id).where(~GalleryMap.done, *same)
    return session.scalar(statement.limit(1))


def insert_map(session: Session, version_id: UUID, collection_id: UUID | None) -> UUID:
    """A job with a map to be computed; its id. The job stays open until the map is done."""
    job = insert(Job).values(type=JobType.MAP, model_version_id=version_id, collection_id=collection_id, closed=False)
    job_id = session.execute(job.returning(Job.id)).scalar_one()
    session.execute(insert(GalleryMap).values(job_id=job_id))
    return job_id


def find_workable_map(session: Session) -> MapWork | None:
    """The oldest that is neither done nor paused nor cancelled."""
    workable = (~GalleryMap.done, ~Job.paused, ~Job.cancelling)
    statement = (
        select(Job.id, Job.model_version_id, Job.collection_id)
        .join(GalleryMap, GalleryMap.job_id == Job.id)
        .where(*workable)
        .order_by(Job.id)
        .limit(1)
    )
    row = session.execute(statement).one_or_none()
    return MapWork(row[0], cast(UUID, row[1]), row[2]) if row else None


def is_wanted(session: Session, job_id: UUID) -> bool:
    """Whether the map is still to be computed: it was not cancelled, and its collection is there."""
    statement = select(Job.id).join(GalleryMap, GalleryMap.job_id == Job.id)
    return session.scalar(statement.where(Job.id == job_id, ~GalleryMap.done, ~Job.cancelling)) is not None


def count_vectors(session: Session, version_id: UUID, collection_id: UUID | None) -> int:
    """How many pictures the map of a scope would be of."""
    places = [f"{version_id} {each}" for each in collections.list_ids(session, collection_id)]
    return tallies.count(session, Counted.EMBEDDED, places)


def store_map(session: Session, work: MapWork, ids: Sequence[UUID], points: Plane, *, images: int) -> bool:
    """Fill a map with its points; maps of the same scope from before go. False if it was cancelled meanwhile."""
    values = {
        "done": True,
        "images": images,
        "image_ids": list(ids),
        "xs": points[:, 0].tolist(),
        "ys": points[:, 1].tolist(),
        "computed_at": func.now(),
    }
    statement = update(GalleryMap).where(GalleryMap.job_id == work.job_id, ~GalleryMap.done).values(values)
    if not session.execute(statement).rowcount:  # type: ignore[attr-defined]
        return False
    session.execute(
        text("""
            DELETE FROM gallery_map m USING job, job own
            WHERE job.id = m.job_id AND own.id = :job AND m.done AND m.job_id <> own.id
              AND job.model_version_id = own.model_version_id
              AND job.collection_id IS NOT DISTINCT FROM own.collection_id
        """),
        {"job": work.job_id},
    )
    return True


def end_map(session: Session, job_id: UUID) -> None:
    """It will not be computed: its job was cancelled, or failed. One that is computed stays."""
    session.execute(update(GalleryMap).where(GalleryMap.job_id == job_id, ~GalleryMap.done).values(done=True))


def find_map(session: Session, version_id: UUID, collection_id: UUID | None) -> ComputedMap | None:
    """The newest map of a scope."""
    statement = (
        select(GalleryMap.job_id, GalleryMap.computed_at, GalleryMap.images, func.cardinality(GalleryMap.image_ids))
        .join(Job, Job.id == GalleryMap.job_id)
        .where(
            GalleryMap.computed_at.is_not(None),
            Job.model_version_id == version_id,
            Job.collection_id.is_not_distinct_from(collection_id),
        )
        .order_by(GalleryMap.job_id.desc())
        .limit(1)
    )
    row = session.execute(statement).one_or_none()
    return ComputedMap(*row) if row else None


def list_points(session: Session, job_id: UUID) -> list[MapPoint]:
    """A map's points with the labels that their pictures have now; without those that are gone."""
    rows = session.execute(
        text(f"""
            SELECT i.id, point.x, point.y, i.label
            FROM gallery_map m
            CROSS JOIN LATERAL unnest(m.image_ids, m.xs, m.ys) AS point(id, x, y)
            JOIN image i ON i.id = point.id
            WHERE m.job_id = :job AND i.collection_id {NOT_DELETED}
        """),
        {"job": job_id},
    )
    return [MapPoint(*row) for row in rows]


def _scope(version_id: UUID, collection_id: UUID | None) -> str:
    collection = scope_sql(collection_id)
    # The version is a literal, so that only its own partition is looked at.
    return f"FROM embedding WHERE model_version_id = '{version_id}' AND collection_id {collection}"

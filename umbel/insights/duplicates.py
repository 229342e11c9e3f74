"""Near-duplicates: groups of images that are one picture, changed, and which of them to keep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.union_find import connected_components
from umbel.gallery import collections
from umbel.gallery.collections import scope_sql
from umbel.insights import nearest_neighbors
from umbel.insights.comparison import COPY_DISTANCE
from umbel.insights.nearest_neighbors import Progress
from umbel.models import versions

# 0.8: as for groups before a split, see docs/explanation/leakage.md.
MIN_PIXEL_SIMILARITY = 0.8
MAX_DISTANCE = COPY_DISTANCE
AS_SHARP = 0.9  # of the sharpest: recompression alone moves sharpness by up to 8 %, either way
MOST_SHOWN = 100  # images of one group


@dataclass(frozen=True, slots=True)
class Copy:
    """An image that has near-duplicates. size in bytes; sharpness: None where its pixels were not compared."""

    image_id: UUID
    collection: str
    name: str | None
    label: str | None
    width: int
    height: int
    size: int
    sharpness: float | None

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class Member:
    """An image of a group, and its cosine distance to the one to keep."""

    copy: Copy
    distance_to_keep: float


@dataclass(frozen=True, slots=True)
class Group:
    """Images that show one picture. members: the one to keep, then the others, nearest first, at most MOST_SHOWN.

    id: the newest of theirs, by which groups are ordered; size: how many they are; largest_distance: of any member to
    the one to keep.
    """

    id: UUID
    size: int
    largest_distance: float
    members: list[Member]


@dataclass(frozen=True, slots=True)
class Found:
    """Groups, the one with the newest image first, and how much of the collection they speak for."""

    groups: list[Group]
    version_id: UUID
    progress: Progress


def find_duplicates(
    session: Session,
    *,
    collection: str | None,
    max_distance: float,
    min_pixel_similarity: float,
    before: UUID | None,
    limit: int,
    image_id: UUID | None = None,
) -> Found:
    """Up to `limit` groups whose newest image is older than `before`.

    Linked images form a group, transitively: pairs at most `max_distance` apart whose pixels agree by
    `min_pixel_similarity`; 0 asks for the distance alone. image_id: only the group that this image is in.
    Raises NotFound, NotReady.
    """
    version = versions.get_active_version(session)
    collection_id = collections.get_collection(session, collection) if collection is not None else None
    links = _list_links(
        session, version.id, collection_id, max_distance=max_distance, min_pixel_similarity=min_pixel_similarity
    )
    groups = sorted(connected_components(links), key=max, reverse=True)
    if image_id is not None:
        groups = [group for group in groups if str(image_id) in group]
    page = [group for group in groups if before is None or max(group) < str(before)][:limit]
    progress = nearest_neighbors.count_compared(session, version.id, collection_id)
    described = _described(session, version.id, [[UUID(image) for image in group] for group in page])
    return Found(described, version.id, progress)


def keeper(copies: Sequence[Copy]) -> Copy:
    """The one to keep: most pixels, then sharpest, then the largest file, then the oldest."""
    pixels = max(copy.pixels for copy in copies)
    largest = [copy for copy in copies if copy.pixels == pixels]
    sharpest = max(copy.sharpness or 0 for copy in largest)
    sharp = [copy for copy in largest if (copy.sharpness or 0) >= AS_SHARP * sharpest]
    return min(sharp, key=lambda copy: (-copy.size, copy.image_id))


def _described(session: Session, version_id: UUID, groups: Sequence[Sequence[UUID]]) -> list[Group]:
    copies = _list_copies(session, [image for group in groups for image in group])
    present = [[copies[image] for image in group if image in copies] for group in groups]
    kept = [(keeper(group), group) for group in present if len(group) > 1]
    pairs = {copy.image_id: keep.image_id for keep, group in kept for copy in group}
    distances = _measure_distances(session, version_id, pairs)
    return [_group(keep, group, distances) for keep, group in kept]


def _group(keep: Copy, copies: Sequence[Copy], distances: Mapping[UUID, float]) -> Group:
    members = [Member(copy, distances.get(copy.image_id, 0.0)) for copy in copies]
    members.sort(key=lambda one: (one.copy is not keep, one.distance_to_keep, one.copy.image_id))
    newest = max(copy.image_id for copy in copies)
    return Group(newest, len(copies), members[-1].distance_to_keep, members[:MOST_SHOWN])


def _list_links(
    session: Session, version_id: UUID, collection_id: UUID | None, *, max_distance: float, min_pixel_similarity: float
) -> list[tuple[str, str]]:
    """Pairs of images of one collection that are near enough and agree well enough; a pair may come twice.

    Ids as text, in whose order they sort as ids: there may be a million, and to make a UUID of each takes longer than
    all the rest.
    """
    rows = session.execute(
        text(f"""
            SELECT n.image_id::text, link.other::text
            FROM nearest_neighbors n
            CROSS JOIN LATERAL unnest(n.neighbors, n.distances, n.pixel_similarities)
                AS link(other, distance, pixel_similarity)
            JOIN image ON image.id = link.other
            WHERE n.model_version_id = :version AND n.collection_id {scope_sql(collection_id)}
              AND n.nearest <= :distance AND n.pixel_similarity >= :similarity
              AND link.distance <= :distance AND link.pixel_similarity >= :similarity
        """),
        {
            "version": version_id,
            "collection": collection_id,
            "distance": max_distance,
            "similarity": min_pixel_similarity,
        },
    )
    return [(row[0], row[1]) for row in rows]


def _list_copies(session: Session, images: Sequence[UUID]) -> dict[UUID, Copy]:
    """What is known of `images`; those that are gone are left out."""
    rows = session.execute(
        text("""
            SELECT i.id, c.name, i.name, i.label, i.width, i.height, i.size, s.sharpness
            FROM image i JOIN collection c ON c.id = i.collection_id LEFT JOIN image_signature s ON s.image_id = i.id
            WHERE i.id = ANY (:images)
        """),
        {"images": list(images)},
    )
    return {row[0]: Copy(*row) for row in rows}


def _measure_distances(session: Session, version_id: UUID, pairs: Mapping[UUID, UUID]) -> dict[UUID, float]:
    """The cosine distance of each image to another, {image id: other's id}; without those that have no embedding."""
    rows = session.execute(
        text(f"""
            SELECT one.image_id, greatest(one.vector <=> other.vector, 0)
            FROM unnest(CAST(:ones AS uuid[]), CAST(:others AS uuid[])) AS pair(one, other)
            JOIN embedding one ON one.image_id = pair.one AND one.model_version_id = '{version_id}'
            JOIN embedding other ON other.image_id = pair.other AND other.model_version_id = '{version_id}'
        """),
        {"ones": list(pairs), "others": list(pairs.values())},
    )
    return {row[0]: row[1] for row in rows}

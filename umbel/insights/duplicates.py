"""Near-duplicates: groups of images that are one picture, changed, and which of them to keep."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from umbel.base.union_find import connected_components
from umbel.gallery import collections
from umbel.insights import duplicate_rows, nearest_neighbors
from umbel.insights.comparing import COPY_DISTANCE
from umbel.insights.duplicate_rows import Copy
from umbel.insights.nearest_neighbors import Progress
from umbel.models import versions

# 0.8: as for groups before a split, see docs/explanation/leakage.md.
MIN_PIXEL_SIMILARITY = 0.8
MAX_DISTANCE = COPY_DISTANCE
AS_SHARP = 0.9  # of the sharpest: recompression alone moves sharpness by up to 8 %, either way
MOST_SHOWN = 100  # images of one group


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

    A group is what links hold together, be it through others: pairs at most `max_distance` apart whose pixels agree by
    `min_pixel_similarity`; 0 asks for the distance alone. image_id: only the group that this image is in.
    Raises NotFound, NotReady.
    """
    version = versions.get_active_version(session)
    collection_id = collections.get_collection(session, collection) if collection is not None else None
    links = duplicate_rows.list_links(
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
    copies = duplicate_rows.list_copies(session, [image for group in groups for image in group])
    there = [[copies[image] for image in group if image in copies] for group in groups]
    kept = [keeper(group) for group in there if len(group) > 1]
    there = [group for group in there if len(group) > 1]
    pairs = {copy.image_id: keep.image_id for group, keep in zip(there, kept, strict=True) for copy in group}
    distances = duplicate_rows.measure_distances(session, version_id, pairs)
    found = []
    for group, keep in zip(there, kept, strict=True):
        members = [Member(copy, distances.get(copy.image_id, 0.0)) for copy in group]
        members.sort(key=lambda one: (one.copy is not keep, one.distance_to_keep, one.copy.image_id))
        newest, farthest = max(copy.image_id for copy in group), members[-1].distance_to_keep
        found.append(Group(newest, len(group), farthest, members[:MOST_SHOWN]))
    return found

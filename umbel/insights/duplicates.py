"""Near-duplicates: groups of images that are one picture, changed, and which of them to keep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.gallery import collections
from umbel.insights import nearest_neighbors
from umbel.insights.duplicate_groups import (
    Limits,
    StoredGroup,
    current_groupings,
    list_groups,
    list_groups_of,
)
from umbel.insights.nearest_neighbors import Progress
from umbel.models import versions

AS_SHARP = 0.9  # of the sharpest: recompression alone moves sharpness by up to 8 %, either way
MOST_SHOWN = 100  # images of one group


@dataclass(frozen=True, slots=True)
class Copy:
    """An image that has near-duplicates. size in bytes; sharpness: None where its pixels were not compared."""

    image_id: UUID
    collection: str
    name: str | None
    external_id: str | None
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

    id: the newest of theirs when they were compared, by which groups are ordered; size: how many they are;
    largest_distance: of any member to the one to keep.
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
    version_id: UUID | None = None,
) -> Found:
    """Up to `limit` groups whose newest image is older than `before`.

    Linked images form a group, transitively: pairs at most `max_distance` apart whose pixels agree by
    `min_pixel_similarity`; 0 asks for the distance alone. image_id: only the group that this image is in.
    version_id: by whose vectors; None: the active version's.
    Raises NotFound, NotReady.
    """
    version = versions.get_version_to_use(session, version_id)
    collection_id = collections.id_of(session, collection)
    scope = collections.list_ids(session, collection_id)
    groupings = current_groupings(session, version.id, scope, Limits(max_distance, min_pixel_similarity))
    if image_id is not None:
        groups = _described(session, version.id, list_groups_of(session, groupings, image_id))
    else:
        groups = _page(session, version.id, groupings, before=before, limit=limit)
    return Found(groups, version.id, nearest_neighbors.count_compared(session, version.id, collection_id))


def _page(
    session: Session, version_id: UUID, groupings: Sequence[UUID], *, before: UUID | None, limit: int
) -> list[Group]:
    """Some groups may have lost their images since they were computed: then others take their place."""
    page: list[Group] = []
    while len(page) < limit:
        stored = list_groups(session, groupings, before=before, limit=limit)
        page += _described(session, version_id, stored)
        if len(stored) < limit:
            break
        before = stored[-1].id
    return page[:limit]


def keeper(copies: Sequence[Copy]) -> Copy:
    """The one to keep: most pixels, then sharpest, then the largest file, then the oldest."""
    pixels = max(copy.pixels for copy in copies)
    largest = [copy for copy in copies if copy.pixels == pixels]
    sharpest = max(copy.sharpness or 0 for copy in largest)
    sharp = [copy for copy in largest if (copy.sharpness or 0) >= AS_SHARP * sharpest]
    return min(sharp, key=lambda copy: (-copy.size, copy.image_id))


def _described(session: Session, version_id: UUID, groups: Sequence[StoredGroup]) -> list[Group]:
    """Those of which two or more images are there, with these images."""
    copies = _list_copies(session, [image for group in groups for image in group.images])
    present = {group.id: [copies[image] for image in group.images if image in copies] for group in groups}
    kept = {group: (keeper(some), some) for group, some in present.items() if len(some) > 1}
    pairs = {copy.image_id: keep.image_id for keep, some in kept.values() for copy in some}
    distances = _measure_distances(session, version_id, pairs)
    return [_group(group, keep, some, distances) for group, (keep, some) in kept.items()]


def _group(group_id: UUID, keep: Copy, copies: Sequence[Copy], distances: Mapping[UUID, float]) -> Group:
    members = [Member(copy, distances.get(copy.image_id, 0.0)) for copy in copies]
    members.sort(key=lambda one: (one.copy is not keep, one.distance_to_keep, one.copy.image_id))
    return Group(group_id, len(copies), members[-1].distance_to_keep, members[:MOST_SHOWN])


def _list_copies(session: Session, images: Sequence[UUID]) -> dict[UUID, Copy]:
    """What is known of `images`; those that are gone are left out."""
    rows = session.execute(
        text("""
            SELECT i.id, c.name, i.name, i.external_id, i.label, i.width, i.height, i.size, s.sharpness
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

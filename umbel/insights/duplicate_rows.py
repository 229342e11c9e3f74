"""Near-duplicates as the k-NN graph has them: who is linked to whom, and what is known of those."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.gallery.collections import DELETED_SQL


@dataclass(frozen=True, slots=True)
class Copy:
    """An image that has near-duplicates. size in bytes; sharpness: None where it was not looked at."""

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


def list_links(
    session: Session, version_id: UUID, collection_id: UUID | None, *, max_distance: float, min_pixel_similarity: float
) -> list[tuple[str, str]]:
    """Pairs of images of one collection that are near enough and agree well enough; a pair may come twice.

    Ids as text, in whose order they sort as ids: there may be a million, and to make a UUID of each takes longer than
    all the rest.
    """
    collection = "= :collection" if collection_id else f"<> ALL ({DELETED_SQL})"
    rows = session.execute(
        text(f"""
            SELECT n.image_id::text, link.other::text
            FROM nearest_neighbors n
            CROSS JOIN LATERAL unnest(n.neighbors, n.distances, n.pixel_similarities)
                AS link(other, distance, pixel_similarity)
            JOIN image ON image.id = link.other
            WHERE n.model_version_id = :version AND n.collection_id {collection}
              AND n.nearest <= :distance AND n.pixel_similarity >= :pixel_similarity
              AND link.distance <= :distance AND link.pixel_similarity >= :pixel_similarity
        """),
        {
            "version": version_id,
            "collection": collection_id,
            "distance": max_distance,
            "pixel_similarity": min_pixel_similarity,
        },
    )
    return [(row[0], row[1]) for row in rows]


def list_copies(session: Session, images: Sequence[UUID]) -> dict[UUID, Copy]:
    """What is known of `images`; those that are gone are left out."""
    rows = session.execute(
        text("""
            SELECT i.id, c.name, i.name, i.label, i.width, i.height, i.size, l.sharpness
            FROM image i JOIN collection c ON c.id = i.collection_id LEFT JOIN image_signature l ON l.image_id = i.id
            WHERE i.id = ANY (:images)
        """),
        {"images": list(images)},
    )
    return {row[0]: Copy(*row) for row in rows}


def measure_distances(session: Session, version_id: UUID, pairs: Mapping[UUID, UUID]) -> dict[UUID, float]:
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

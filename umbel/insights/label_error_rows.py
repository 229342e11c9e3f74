"""Labels that the neighbors doubt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class LabelErrorImage:
    """An image whose label its neighbors doubt, with the neighbors, nearest first."""

    id: UUID
    collection: str
    name: str | None
    label: str
    suggested_label: str
    label_error_probability: float
    neighbors: list[UUID]
    distances: list[float]
    compared_at: datetime


def list_label_errors(
    session: Session,
    version_id: UUID,
    collection_id: UUID | None,
    *,
    min_probability: float,
    after: tuple[float, UUID] | None,
    limit: int,
) -> list[LabelErrorImage]:
    """Up to `limit` images, the most doubted first, after the one with this doubt and id.

    Not those whose label was changed since their neighbors voted on it.
    """
    conditions = [
        "n.model_version_id = :version",
        "n.label_error_probability > 0",
        "n.label_error_probability >= CAST(:least AS real)",
    ]
    if collection_id is not None:
        conditions.append("n.collection_id = :collection")
    if after is not None:
        conditions.append("(n.label_error_probability, n.image_id) < (CAST(:after AS real), CAST(:image AS uuid))")
    probability, image = after or (None, None)
    rows = session.execute(
        text(f"""
            SELECT i.id, c.name, i.name, i.label, n.suggested_label, n.label_error_probability, n.neighbors,
                   n.distances, n.compared_at
            FROM nearest_neighbors n
            JOIN image i ON i.id = n.image_id AND i.label = n.voted_label
            JOIN collection c ON c.id = n.collection_id AND c.deleted_at IS NULL
            WHERE {" AND ".join(conditions)} ORDER BY n.label_error_probability DESC, n.image_id DESC LIMIT :limit
        """),
        {
            "version": version_id,
            "collection": collection_id,
            "least": min_probability,
            "after": probability,
            "image": image,
            "limit": limit,
        },
    )
    return [LabelErrorImage(*row) for row in rows]


def list_labels(session: Session, images: Sequence[UUID]) -> dict[UUID, str]:
    """{image id: label} of those of `images` that have one."""
    rows = session.execute(
        text("SELECT id, label FROM image WHERE id = ANY (:images) AND label IS NOT NULL"), {"images": list(images)}
    )
    return {row[0]: row[1] for row in rows}

"""What a candidate for the active model is judged on."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.gallery.collections import DELETED_SQL


@dataclass(frozen=True, slots=True)
class Labelled:
    """An image that somebody has labelled. group: its label within its collection."""

    image_id: UUID
    group: tuple[UUID, str]


def sample_labelled(
    session: Session, *, active: UUID, candidate: UUID, without: Sequence[bytes], limit: int
) -> list[Labelled]:
    """Up to `limit` labelled images that both versions have a vector of, always the same of a gallery.

    without: SHA-256 of pictures that are not to be judged on, since the candidate has learnt from them.
    """
    rows = session.execute(
        text(f"""
            SELECT i.id, i.collection_id, i.label FROM image i
            JOIN embedding l ON l.image_id = i.id AND l.model_version_id = '{active}'
            JOIN embedding c ON c.image_id = i.id AND c.model_version_id = '{candidate}'
            WHERE i.label IS NOT NULL AND i.collection_id <> ALL ({DELETED_SQL})
              AND NOT EXISTS (SELECT FROM unnest(CAST(:without AS bytea[])) AS known(sha256)
                              WHERE known.sha256 = i.sha256)
            ORDER BY hashtextextended(i.id::text, 0) LIMIT :limit
        """),
        {"without": list(without), "limit": limit},
    )
    return [Labelled(row.id, (row.collection_id, row.label)) for row in rows]


def count_labelled(session: Session, sha256: Sequence[bytes]) -> int:
    """How many labelled images are these pictures."""
    statement = text("SELECT count(*) FROM image WHERE label IS NOT NULL AND sha256 = ANY(CAST(:known AS bytea[]))")
    return session.execute(statement, {"known": list(sha256)}).scalar_one()

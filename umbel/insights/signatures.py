"""What is kept of pictures that were looked at: their thumbs and their sharpness."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.copy import stage_rows
from umbel.insights.signature import Look, packed, unpacked

STAGED = {"image_id": "uuid", "sharpness": "float4", "thumb": "bytea"}


@dataclass(frozen=True, slots=True)
class Seen:
    """Of some images: looks of those that were looked at, None where nothing can be seen; blob keys of the others."""

    looks: dict[UUID, Look | None]
    unseen: dict[UUID, str]


def list_looks(session: Session, images: Sequence[UUID]) -> Seen:
    """What is known of `images`; those that are gone are left out."""
    rows = session.execute(
        text("""
            SELECT i.id, i.blob_key, l.image_id IS NOT NULL AS seen, l.sharpness, l.thumb
            FROM image i LEFT JOIN look l ON l.image_id = i.id WHERE i.id = ANY (:images)
        """),
        {"images": list(images)},
    ).all()
    looks = {row.id: Look(row.sharpness, unpacked(row.thumb)) if row.thumb else None for row in rows if row.seen}
    return Seen(looks, {row.id: row.blob_key for row in rows if not row.seen})


def insert_looks(session: Session, looks: Mapping[UUID, Look | None]) -> None:
    """Keep what was seen; None: nothing can be. Images that are gone, or were looked at by others, are passed over."""
    if not looks:
        return
    rows = ((image, seen and seen.sharpness, seen and packed(seen.thumb)) for image, seen in looks.items())
    stage_rows(session, "staged_look", STAGED, rows)
    session.execute(
        text("""
            INSERT INTO look (image_id, sharpness, thumb)
            SELECT s.image_id, s.sharpness, s.thumb FROM staged_look s JOIN image i ON i.id = s.image_id
            ORDER BY s.image_id FOR KEY SHARE OF i ON CONFLICT DO NOTHING
        """)
    )

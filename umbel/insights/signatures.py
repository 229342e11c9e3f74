"""The stored signatures of images: their small grey copies and their sharpness."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.copy import stage_rows
from umbel.base.types import ImageSignature
from umbel.gallery.blob_cleanups import same_bytes
from umbel.insights.signature import packed, unpacked

STAGED = {"image_id": "uuid", "sharpness": "float4", "pixels": "bytea", "blob_key": "text"}


@dataclass(frozen=True, slots=True)
class Seen:
    """Of some images: the signatures that are known, None where nothing can be seen; blob keys of the others."""

    signatures: dict[UUID, ImageSignature | None]
    unseen: dict[UUID, str]


def list_signatures(session: Session, images: Sequence[UUID]) -> Seen:
    """What is known of `images`; those that are gone are left out."""
    rows = session.execute(
        text("""
            SELECT i.id, i.blob_key, s.image_id IS NOT NULL AS seen, s.sharpness, s.pixels
            FROM image i LEFT JOIN image_signature s ON s.image_id = i.id WHERE i.id = ANY (:images)
        """),
        {"images": list(images)},
    ).all()
    signatures = {
        row.id: ImageSignature(row.sharpness, unpacked(row.pixels)) if row.pixels else None for row in rows if row.seen
    }
    return Seen(signatures, {row.id: row.blob_key for row in rows if not row.seen})


def insert_signatures(
    session: Session, signatures: Mapping[UUID, ImageSignature | None], blob_keys: Mapping[UUID, str]
) -> None:
    """Keep what was seen of these blobs; None: nothing can be.

    Images that are gone, have another blob by now, or have a signature are skipped.
    """
    if not signatures:
        return
    rows = (
        (image, seen and seen.sharpness, seen and packed(seen.pixels), blob_keys[image])
        for image, seen in signatures.items()
    )
    stage_rows(session, "staged_image_signature", STAGED, rows)
    session.execute(
        text(f"""
            INSERT INTO image_signature (image_id, sharpness, pixels)
            SELECT s.image_id, s.sharpness, s.pixels FROM staged_image_signature s
            JOIN image i ON i.id = s.image_id AND {same_bytes("i.blob_key", "s.blob_key")}
            ORDER BY s.image_id FOR KEY SHARE OF i ON CONFLICT DO NOTHING
        """)
    )

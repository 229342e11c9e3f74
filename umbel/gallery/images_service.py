"""Images that are there: looked at, relabelled, removed."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.image_rules import published, thumbnail
from umbel.base.settings import Settings
from umbel.gallery import blob_cleanups, images
from umbel.gallery.blob_cleanups import Note
from umbel.gallery.images import ImageRow
from umbel.jobs import item_rows


def read_image(blobs: Blobs, limits: Settings, image: ImageRow) -> tuple[bytes, str]:
    """The picture upright and without metadata, and its media type. Raises ImageError."""
    return published(blobs.get(image.blob_key), limits)


def read_thumbnail(transaction: Transaction, blobs: Blobs, limits: Settings, image: ImageRow) -> bytes:
    """A small JPEG, made at the first call and kept beside the picture. Raises ImageError."""
    key = thumbnail_key(image.blob_key)
    if blobs.exists(key):
        return blobs.get(key)
    small = thumbnail(blobs.get(image.blob_key), limits)
    with transaction() as session:
        images.lock_blobs(session, [image.blob_key])
        if images.list_used_blobs(session, [image.blob_key]):  # or it would outlive an image that is removed meanwhile
            blobs.put(key, small)
    return small


def remove_image(transaction: Transaction, blobs: Blobs, image_id: UUID) -> None:
    """Remove an image from ledger, embeddings and blob store. Raises NotFound.

    The row goes first, and leaves a note of its bytes: a crash in between leaves them to the sweep.
    """
    with transaction() as session:
        item_rows.lock_items_of_image(session, image_id)
        notes = blob_cleanups.insert_cleanups(session, [images.delete_image(session, image_id)])
    with transaction() as session:
        settle(session, blobs, blob_cleanups.claim_cleanups(session, notes))


def settle(session: Session, blobs: Blobs, notes: Sequence[Note]) -> None:
    """Remove the bytes that turn out to be nobody's, with their thumbnails, and the notes. Raises TransientError."""
    keys = sorted({note.blob_key for note in notes})
    images.lock_blobs(session, keys)
    unused = sorted(set(keys) - images.list_used_blobs(session, keys))  # the same bytes may have come, or come back
    blobs.delete_all([*unused, *map(thumbnail_key, unused)])
    blob_cleanups.take_cleanups(session, [note.id for note in notes])


def thumbnail_key(blob_key: str) -> str:
    return blob_key.replace("pictures/", "thumbnails/", 1)

"""Images that are there: looked at, relabelled, removed."""

from uuid import UUID

from core.blobs import Blobs
from core.pictures import published, thumbnail
from core.settings import Settings
from db import images, items
from db.images import ImageRow
from db.session import Transaction


def read_picture(blobs: Blobs, limits: Settings, image: ImageRow) -> tuple[bytes, str]:
    """The picture upright and without metadata, and its media type. Raises PictureError."""
    return published(blobs.get(image.blob_key), limits)


def read_thumbnail(blobs: Blobs, limits: Settings, image: ImageRow) -> bytes:
    """A small JPEG, made at the first call and kept beside the picture. Raises PictureError."""
    key = thumbnail_key(image.blob_key)
    if blobs.exists(key):
        return blobs.get(key)
    small = thumbnail(blobs.get(image.blob_key), limits)
    blobs.put(key, small)
    return small


def remove_image(transaction: Transaction, blobs: Blobs, image_id: UUID) -> None:
    """Remove an image from ledger, embeddings and blob store. Raises NotFound.

    The row goes first: a crash in between leaves bytes without a row, which harm nobody, and never the reverse.
    """
    with transaction() as session:
        items.cancel_items_of_image(session, image_id)
        key = images.delete_image(session, image_id)
    with transaction() as session:
        images.lock_blob(session, key)
        if not images.blob_is_used(session, key):  # the same bytes may have come back meanwhile
            blobs.delete(key)
            blobs.delete(thumbnail_key(key))


def thumbnail_key(blob_key: str) -> str:
    return blob_key.replace("pictures/", "thumbnails/", 1)

"""The blobs of images: locked, looked for, and cleaned up once no image refers to them.

A pending cleanup is inserted before bytes are written, and deleted in the transaction that first references them. So a
crash in between leaves no bytes that the sweep does not find.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, text, update
from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.errors import TransientError
from umbel.base.in_place import IN_PLACE, stays_in_place
from umbel.base.tables import Image, PendingBlobCleanup, TrashedImage, ago

PICTURES, THUMBNAILS, PUBLISHED = "pictures/", "thumbnails/", "published/"  # folders of the blob store
ELSEWHERE = "@"  # in THUMBNAILS and PUBLISHED, the folder for images that stay in place; no collection has this name
RENDITIONS = (THUMBNAILS, PUBLISHED)  # what is made of the bytes in PICTURES, see umbel/gallery/renditions.py


@dataclass(frozen=True, slots=True)
class Cleanup:
    """A pending cleanup; several may be of one blob."""

    id: UUID
    blob_key: str


def blob_key(collection: str, digest: bytes) -> str:
    """Where the blob store has the bytes of that collection's image with this SHA-256."""
    return f"{PICTURES}{collection}/{digest.hex()[:2]}/{digest.hex()}"


def rendition_key(blob_key: str, folder: str) -> str:
    """Where the blob store has what was made of that image. folder: of RENDITIONS."""
    if stays_in_place(blob_key):
        return blob_key.partition("#")[0].replace(IN_PLACE, f"{folder}{ELSEWHERE}/", 1)
    return blob_key.replace(PICTURES, folder, 1)


def rendition_owner(key: str) -> str:
    """The blob key of the image of which that blob was made; of any other blob, its own key.

    Of an image that stays in place, the part of its key before the first #.
    """
    folder = next((folder for folder in RENDITIONS if key.startswith(folder)), None)
    if folder and key.startswith(f"{folder}{ELSEWHERE}/"):
        return key.replace(f"{folder}{ELSEWHERE}/", IN_PLACE, 1)
    return key.replace(folder, PICTURES, 1) if folder else key


def same_bytes(one: str, other: str) -> str:
    """SQL: whether two columns with blob keys mean the same bytes, of one collection; also after a file has moved."""
    return f"split_part({one}, '#', 1) = split_part({other}, '#', 1)"


# As text, the statements of an upload or chunk: to build them anew each time would take longer than to send them.
# Lock blobs by their keys until the transaction ends.
LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(key, 0)) FROM unnest(CAST(:keys AS text[])) key")
# Write cleanups of these blobs, which are due after a while.
INSERT = text("""
    INSERT INTO pending_blob_cleanup (blob_key, since)
    SELECT key, now() + make_interval(secs => :patience) FROM unnest(CAST(:keys AS text[])) key RETURNING id
""")
# Write cleanups of the blobs that no image of their collection has yet.
INSERT_OF_NEW = text("""
    INSERT INTO pending_blob_cleanup (blob_key)
    SELECT key FROM unnest(CAST(:keys AS text[]), CAST(:collections AS text[]), CAST(:hashes AS bytea[]))
                    AS given(key, collection, sha256)
    WHERE NOT EXISTS (
        SELECT FROM image JOIN collection ON collection.id = image.collection_id
        WHERE collection.name = given.collection AND collection.deleted_at IS NULL AND image.sha256 = given.sha256
    )
    RETURNING blob_key, id
""")
# Delete cleanups that are not needed any more.
TAKE = text("DELETE FROM pending_blob_cleanup WHERE id = ANY (:ids) RETURNING id")


def lock_blobs(session: Session, blob_keys: Iterable[str]) -> None:
    """Keep others from adding or removing the blobs' images until this transaction ends; always in one order."""
    session.execute(LOCK, {"keys": sorted(set(blob_keys))})


def list_used_blobs(session: Session, blob_keys: Sequence[str]) -> set[str]:
    """Those of `blob_keys` that are an image's, of whatever collection or in the trash."""
    tables: tuple[type[Image] | type[TrashedImage], ...] = (Image, TrashedImage)
    return {
        key for table in tables for key in session.scalars(select(table.blob_key).where(table.blob_key.in_(blob_keys)))
    }


@contextmanager
def writing_blobs(transaction: Transaction, blob_keys: Sequence[str]) -> Iterator[Session]:
    """A transaction in which bytes may be written under `blob_keys`: what it does not reference is cleaned up."""
    with transaction() as session:
        cleanups = insert_cleanups(session, [key for key in blob_keys if not stays_in_place(key)])
    with transaction() as session:
        take_cleanups(session, cleanups)
        yield session


def insert_cleanups(session: Session, keys: Sequence[str], *, patience_seconds: float = 0) -> list[UUID]:
    """Say that bytes may be written, or are to go, under `keys`; committed before the first byte is.

    patience_seconds: how much longer than usual the writing may take.
    """
    return list(session.execute(INSERT, {"keys": list(keys), "patience": patience_seconds}).scalars()) if keys else []


def insert_cleanups_of_new(session: Session, images: Sequence[tuple[str, str, bytes]]) -> dict[str, UUID]:
    """Say that bytes may be written, unless the collection of that name has an image of them already.

    images: (key, collection, SHA-256). Returns {key: cleanup}.
    """
    keys, collections, hashes = map(list, zip(*images, strict=True))
    rows = session.execute(INSERT_OF_NEW, {"keys": keys, "collections": collections, "hashes": hashes})
    return {row.blob_key: row.id for row in rows}


def take_cleanups(session: Session, cleanups: Sequence[UUID]) -> None:
    """Delete them with this transaction, which references the bytes. Raises TransientError if the sweep was faster."""
    if cleanups and len(session.execute(TAKE, {"ids": list(cleanups)}).all()) != len(cleanups):
        raise TransientError("Storing took so long that it was given up; send it again.")


def hasten_cleanups(session: Session, cleanups: Sequence[UUID]) -> None:
    """Nothing came of what they were inserted for: the next sweep may look."""
    session.execute(
        update(PendingBlobCleanup).where(PendingBlobCleanup.id.in_(cleanups)).values(since=text("'-infinity'"))
    )


def postpone_cleanup(session: Session, cleanup: UUID) -> None:
    """Its blob cannot be deleted now: others go first."""
    session.execute(update(PendingBlobCleanup).where(PendingBlobCleanup.id == cleanup).values(since=func.now()))


def claim_cleanups(session: Session, cleanups: Sequence[UUID]) -> list[Cleanup]:
    """Lock those of `cleanups` that no other transaction has locked or taken."""
    return _claimed(session, PendingBlobCleanup.id.in_(cleanups))


def claim_old_cleanups(session: Session, *, seconds: float, limit: int) -> list[Cleanup]:
    """Lock up to `limit` cleanups that have been pending for `seconds`."""
    return _claimed(session, PendingBlobCleanup.since < ago(seconds), limit=limit)


def clean_up_blobs(session: Session, blobs: Blobs, cleanups: Sequence[Cleanup]) -> None:
    """Remove the bytes that no image refers to, with what was made of them, and the cleanups. Raises TransientError."""
    keys = sorted({cleanup.blob_key for cleanup in cleanups})
    lock_blobs(session, keys)
    unused = sorted(set(keys) - list_used_blobs(session, keys))  # the same bytes may have come, or come back
    blobs.delete_all([*unused, *(rendition_key(key, folder) for folder in RENDITIONS for key in unused)])
    take_cleanups(session, [cleanup.id for cleanup in cleanups])


def _claimed(session: Session, condition: ColumnElement[bool], limit: int | None = None) -> list[Cleanup]:
    """Lock the cleanups that meet a condition, by id, without those that are locked already."""
    statement = (
        select(PendingBlobCleanup.id, PendingBlobCleanup.blob_key)
        .where(condition)
        .order_by(PendingBlobCleanup.id)
        .limit(limit)
    )
    return [Cleanup(*row) for row in session.execute(statement.with_for_update(skip_locked=True))]

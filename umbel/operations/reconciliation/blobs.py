"""The blob store checked against the ledger: missing or changed bytes, and blobs without an owner.

The listing of the store goes into a temporary table, which is joined with the ledger."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.copy import copy_rows
from umbel.base.database import autocommit
from umbel.base.errors import BlobMissing
from umbel.base.in_place import IN_PLACE
from umbel.base.tables import Image
from umbel.gallery import blob_cleanups
from umbel.gallery.blob_cleanups import Cleanup, clean_up_blobs, rendition_owner, same_bytes
from umbel.jobs.outcomes import retry_transient
from umbel.models import versions
from umbel.models.checkpoints import blob_keys
from umbel.operations.reconciliation.context import PAGE, Context, Mismatches, Page

PREFIXES = ("pictures", "thumbnails", "published", "imports")
READERS = 8  # concurrent requests: a remote store is mostly waiting
READ = 500  # images read between two queries
LOCKED = 100  # blobs locked at once
RESTORE = "Restore the bytes from a backup under that key, or delete the image and upload it again."


class FoundBlob(NamedTuple):
    """A blob of the listing. at: its position there; owner: the key under which a row would name it."""

    at: int
    key: str
    size: int
    owner: str


class SuspectImage(NamedTuple):
    """An image whose bytes were not listed, or with another size. size: what its row says, in bytes."""

    id: UUID
    blob_key: str
    size: int


def check_blobs(context: Context) -> list[Mismatches]:
    """Images without their bytes, and bytes without an owner, by one listing of the blob store."""
    with found_blobs() as session, ThreadPoolExecutor(READERS) as readers:
        before = tell_time(session)
        listed = _list(context, session)
        return [*_images(context, session, readers, before), *_strays(context, session, listed)]


def check_models(context: Context) -> list[Mismatches]:
    """Model files without a model version, and model versions without their files."""
    stray = Mismatches("stray_model", "model files of no model version", "Removed.")
    missing = Mismatches(
        "missing_model",
        "model versions whose files are missing",
        "Put the checkpoint's two files back under these keys: no worker can start with that version else.",
        repairable=False,
    )
    listed = [blob.key for blob in context.blobs.list("models")]
    with context.transaction() as session:
        versions.lock_registration(session)  # every writer of model files holds it
        own = [version for version in versions.list_versions(session) if not version.is_external]
        hashes = list(dict.fromkeys(version.weights_sha256 for version in own))
        unowned = list_unowned(session, [key for key in listed if key.split("/")[1] not in hashes])
        strays = [key for key in listed if key in unowned and context.blobs.exists(key)]
        for key in strays if context.repair else ():
            context.blobs.delete(key)
        missing.add(key for sha256 in hashes for key in blob_keys(sha256) if not context.blobs.exists(key))
    stray.add(strays, repaired=context.repair)
    return [missing, stray]


def check_hashes(context: Context) -> list[Mismatches]:
    """Images whose bytes have changed since the upload. Reads every image."""
    wrong = Mismatches("wrong_hash", "images whose bytes have another SHA-256", RESTORE, repairable=False)
    with ThreadPoolExecutor(READERS) as readers:
        for page in context.pages("image", "Reading images", size=READ):
            with context.transaction() as session:
                rows = list_hashes(session, page)
            right = readers.map(lambda row: _is_right(context.blobs, row.blob_key, row.size, row.sha256), rows)
            suspects = {row.id: row.blob_key for row, fine in zip(rows, right, strict=True) if not fine}
            with context.transaction() as session:
                present = list_present_images(session, list(suspects))
            wrong.add(f"{image_id} {key}" for image_id, key in suspects.items() if image_id in present)
    return [wrong]


def _list(context: Context, session: Session) -> int:
    """Copy the listing into the temporary table. Returns the number of blobs."""
    listed = 0
    found = (blob for prefix in PREFIXES for blob in context.blobs.list(prefix))
    with context.watch("Listing blobs", None) as advance:
        while some := list(islice(found, PAGE)):
            rows = (
                FoundBlob(listed + at, blob.key, blob.size, rendition_owner(blob.key)) for at, blob in enumerate(some)
            )
            add_found(session, rows)
            listed += len(some)
            advance(len(some))
    index_found(session)
    return listed


def _images(context: Context, found: Session, readers: Executor, before: datetime) -> list[Mismatches]:
    """Images that exist before and after the listing must have had their blob during it."""
    missing = Mismatches("missing_blob", "images whose bytes are missing", RESTORE, repairable=False)
    other = Mismatches("wrong_size", "images whose bytes have another size", RESTORE, repairable=False)
    for page in context.pages("image", "Looking for bytes"):
        suspects = list_suspect_images(found, page, before=before)
        sizes = list(readers.map(lambda image: _size(context.blobs, image.blob_key), suspects))
        with context.transaction() as session:
            present = list_present_images(session, [image.id for image in suspects])
        for image, size in zip(suspects, sizes, strict=True):
            if image.id in present and size != image.size:
                (missing if size is None else other).add([f"{image.id} {image.blob_key}"])
    return [missing, other]


def _strays(context: Context, found: Session, listed: int) -> list[Mismatches]:
    pictures = Mismatches("stray_blob", "pictures, thumbnails and published pictures of no image", "Removed.")
    uploads = Mismatches("stray_upload", "uploaded archives and lists without an import", "Removed.")
    with context.watch("Looking for owners", listed) as advance:
        for first in range(0, listed, PAGE):
            suspects = list_strays(found, first=first, last=first + PAGE)
            for at in range(0, len(suspects), LOCKED):
                for key in retry_transient(partial(_confirmed, context, suspects[at : at + LOCKED])):
                    of_import = key.startswith("imports/")
                    (uploads if of_import else pictures).add([key], repaired=context.repair)
            advance(min(PAGE, listed - first))
    return [pictures, uploads]


def _confirmed(context: Context, suspects: Sequence[FoundBlob]) -> list[str]:
    """The suspects that exist and have no owner while locks keep them from getting one; removed if `repair` is set."""
    owners = [blob.owner for blob in suspects]
    with context.transaction() as session:
        blob_cleanups.lock_blobs(session, owners)
        unowned = list_unowned(session, owners)
        strays = [blob for blob in suspects if blob.owner in unowned and context.blobs.exists(blob.key)]
        if context.repair:
            keys = sorted({blob.owner for blob in strays})
            ids = blob_cleanups.insert_cleanups(session, keys)
            clean_up_blobs(session, context.blobs, list(map(Cleanup, ids, keys)))
    return [blob.key for blob in strays]


def _size(blobs: Blobs, key: str) -> int | None:
    """None for a blob that is missing."""
    try:
        return retry_transient(lambda: blobs.size(key))
    except BlobMissing:
        return None


def _is_right(blobs: Blobs, key: str, size: int, sha256: bytes) -> bool:
    """False for the right number of wrong bytes. `check_blobs` finds missing blobs and wrong sizes."""
    try:
        data = retry_transient(lambda: blobs.get(key))
    except BlobMissing:
        return True
    return len(data) != size or hashlib.sha256(data).digest() == sha256


@contextmanager
def found_blobs() -> Iterator[Session]:
    """A session with the temporary table `found_blob`, empty. Raises as `transaction` does.

    Each statement is a transaction of its own: one that lasted as long as a listing would hold up vacuum, and the
    building of indexes.
    """
    with autocommit() as session:
        try:
            session.execute(text("CREATE TEMPORARY TABLE found_blob (at int8, key text, size int8, owner text)"))
            yield session
        finally:
            session.invalidate()  # closed rather than given back: the table goes with it


def tell_time(session: Session) -> datetime:
    """The database's clock, which also dates rows."""
    return session.execute(text("SELECT clock_timestamp()")).scalar_one()


def add_found(session: Session, blobs: Iterable[FoundBlob]) -> None:
    columns = {"at": "int8", "key": "text", "size": "int8", "owner": "text"}
    copy_rows(session, "found_blob", columns, blobs)


def index_found(session: Session) -> None:
    """Index the complete listing."""
    for statement in ("CREATE INDEX ON found_blob (key)", "CREATE INDEX ON found_blob (at)", "ANALYZE found_blob"):
        session.execute(text(statement))


def list_suspect_images(session: Session, page: Page, *, before: datetime) -> list[SuspectImage]:
    """Images from before the listing whose bytes it did not find, or with another size."""
    rows = session.execute(
        text("""
            SELECT image.id, image.blob_key, image.size FROM image LEFT JOIN found_blob b ON b.key = image.blob_key
            WHERE image.id > :after AND image.id <= :last AND image.created_at < :before
              AND b.size IS DISTINCT FROM image.size
        """),
        {**page.bounds, "before": before},
    )
    return [SuspectImage(*row) for row in rows]


# The cleanup row is deleted in the transaction that first references the blob, and inserted in the one that removes the
# last reference: in one snapshot a blob has an owner, a cleanup row, or is a stray.
UNOWNED = " AND ".join(
    # By the index of whole keys; and of images that stay in place, whose owner is told by a part of its key.
    f"NOT EXISTS (SELECT FROM {table} o WHERE o.blob_key = owner)"
    f" AND NOT EXISTS (SELECT FROM {table} o WHERE starts_with(owner, '{IN_PLACE}')"
    f" AND starts_with(o.blob_key, '{IN_PLACE}') AND {same_bytes('o.blob_key', 'owner')})"
    for table in ("image", "trashed_image", "pending_blob_cleanup")
)
UNOWNED += " AND NOT EXISTS (SELECT FROM import_source s WHERE s.spec ->> 'blob_key' = owner)"


def list_strays(session: Session, *, first: int, last: int) -> list[FoundBlob]:
    """Blobs at the positions first <= at < last without an owner in this snapshot."""
    rows = session.execute(
        text(f"SELECT at, key, size, owner FROM found_blob WHERE at >= :first AND at < :last AND {UNOWNED}"),
        {"first": first, "last": last},
    )
    return [FoundBlob(*row) for row in rows]


def list_unowned(session: Session, owners: Sequence[str]) -> set[str]:
    """Those of `owners` that no row names, and no pending cleanup."""
    statement = text(f"SELECT owner FROM unnest(CAST(:owners AS text[])) AS candidates(owner) WHERE {UNOWNED}")
    return set(session.scalars(statement, {"owners": list(owners)}))


def list_present_images(session: Session, images: Sequence[UUID]) -> set[UUID]:
    """Those of `images` that still exist."""
    return set(session.scalars(select(Image.id).where(Image.id.in_(images))))


def list_hashes(session: Session, page: Page) -> Sequence[Row[UUID, str, int, bytes]]:
    """Each image's id, blob_key, size and sha256."""
    columns = select(Image.id, Image.blob_key, Image.size, Image.sha256)
    return session.execute(columns.where(Image.id > page.after, Image.id <= page.last)).all()

"""The blob store against the ledger: bytes that are missing, other than they should be, or nobody's."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime
from functools import partial
from itertools import islice

from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.errors import BlobMissing
from umbel.gallery import blob_cleanups, images
from umbel.gallery.blob_cleanups import Note
from umbel.gallery.images_service import settle
from umbel.jobs.retry import patiently
from umbel.models import versions
from umbel.models.checkpoints import blob_keys
from umbel.operations import found_blobs, reconciliation_rows
from umbel.operations.found_blobs import FoundBlob
from umbel.operations.mismatches import PAGE, Context, Mismatches

PREFIXES = ("pictures", "thumbnails", "imports")
READERS = 8  # blobs asked for at once: a remote store is mostly waiting
READ = 500  # pictures read between two looks at the ledger
LOCKED = 100  # blobs locked at once
RESTORE = "Restore the bytes from a backup under that key, or delete the image and send the picture again."


def check_blobs(context: Context) -> list[Mismatches]:
    """Images without their bytes, and bytes without an owner, by one listing of the blob store."""
    with found_blobs.found_blobs() as session, ThreadPoolExecutor(READERS) as readers:
        before = found_blobs.tell_time(session)
        listed = _list(context, session)
        return [*_images(context, session, readers, before), *_strays(context, session, listed)]


def check_models(context: Context) -> list[Mismatches]:
    """Model files of no model version, and the other way round."""
    stray = Mismatches("stray_model", "model files of no model version", "Removed.")
    missing = Mismatches(
        "missing_model",
        "model versions whose files are missing",
        "Put the checkpoint's two files back under these keys: no worker can start with that version else.",
        repairable=False,
    )
    listed = [blob.key for blob in context.blobs.list("models")]
    with context.transaction() as session:
        versions.lock_registration(session)  # held by whoever writes there
        hashes = [version.weights_sha256 for version in versions.list_versions(session)]
        unowned = found_blobs.list_unowned(session, [key for key in listed if key.split("/")[1] not in hashes])
        strays = [key for key in listed if key in unowned and context.blobs.exists(key)]
        for key in strays if context.repair else ():
            context.blobs.delete(key)
        missing.add(key for sha256 in hashes for key in blob_keys(sha256) if not context.blobs.exists(key))
    stray.add(strays, repaired=context.repair)
    return [missing, stray]


def check_hashes(context: Context) -> list[Mismatches]:
    """Pictures whose bytes are not those that came in: all of them are read."""
    wrong = Mismatches("wrong_hash", "images whose bytes have another SHA-256", RESTORE, repairable=False)
    with ThreadPoolExecutor(READERS) as readers:
        for page in context.pages("image", "Reading pictures", size=READ):
            with context.transaction() as session:
                rows = reconciliation_rows.list_hashes(session, page)
            right = readers.map(lambda row: _is_right(context.blobs, row.blob_key, row.size, row.sha256), rows)
            suspects = {row.id: row.blob_key for row, fine in zip(rows, right, strict=True) if not fine}
            with context.transaction() as session:
                present = reconciliation_rows.list_present_images(session, list(suspects))
            wrong.add(f"{image_id} {key}" for image_id, key in suspects.items() if image_id in present)
    return [wrong]


def _list(context: Context, session: Session) -> int:
    """Write the listing down, some thousand blobs at a time. Returns how many there are."""
    listed = 0
    found = (blob for prefix in PREFIXES for blob in context.blobs.list(prefix))
    with context.watch("Listing blobs", None) as advance:
        while some := list(islice(found, PAGE)):
            rows = (FoundBlob(listed + at, blob.key, blob.size, _owner(blob.key)) for at, blob in enumerate(some))
            found_blobs.add_found(session, rows)
            listed += len(some)
            advance(len(some))
    found_blobs.index_found(session)
    return listed


def _images(context: Context, found: Session, readers: Executor, before: datetime) -> list[Mismatches]:
    """An image that was there before its blob was looked for, and is there after, should have had it in between."""
    missing = Mismatches("missing_blob", "images whose bytes are missing", RESTORE, repairable=False)
    other = Mismatches("wrong_size", "images whose bytes have another size", RESTORE, repairable=False)
    for page in context.pages("image", "Looking for bytes"):
        suspects = found_blobs.list_suspect_images(found, page, before=before)
        sizes = list(readers.map(lambda image: _size(context.blobs, image.blob_key), suspects))
        with context.transaction() as session:
            present = reconciliation_rows.list_present_images(session, [image.id for image in suspects])
        for image, size in zip(suspects, sizes, strict=True):
            if image.id in present and size != image.size:
                (missing if size is None else other).add([f"{image.id} {image.blob_key}"])
    return [missing, other]


def _strays(context: Context, found: Session, listed: int) -> list[Mismatches]:
    pictures = Mismatches("stray_blob", "pictures and thumbnails of no image", "Removed.")
    uploads = Mismatches("stray_upload", "uploaded archives and lists of no import", "Removed.")
    with context.watch("Looking for owners", listed) as advance:
        for first in range(0, listed, PAGE):
            suspects = found_blobs.list_strays(found, first=first, last=first + PAGE)
            for at in range(0, len(suspects), LOCKED):
                for key in patiently(partial(_confirmed, context, suspects[at : at + LOCKED])):
                    of_import = key.startswith("imports/")
                    (uploads if of_import else pictures).add([key], repaired=context.repair)
            advance(min(PAGE, listed - first))
    return [pictures, uploads]


def _confirmed(context: Context, suspects: Sequence[FoundBlob]) -> list[str]:
    """The suspects that are there and nobody's while nobody can make them theirs; removed, if that is asked for."""
    owners = [blob.owner for blob in suspects]
    with context.transaction() as session:
        images.lock_blobs(session, owners)
        unowned = found_blobs.list_unowned(session, owners)
        strays = [blob for blob in suspects if blob.owner in unowned and context.blobs.exists(blob.key)]
        if context.repair:
            keys = sorted({blob.owner for blob in strays})
            notes = blob_cleanups.insert_cleanups(session, keys)
            settle(session, context.blobs, [Note(note, key) for note, key in zip(notes, keys, strict=True)])
    return [blob.key for blob in strays]


def _owner(key: str) -> str:
    """The key of the picture that a thumbnail was made of; of others, their own."""
    return key.replace("thumbnails/", "pictures/", 1) if key.startswith("thumbnails/") else key


def _size(blobs: Blobs, key: str) -> int | None:
    """None for a blob that is missing."""
    try:
        return patiently(lambda: blobs.size(key))
    except BlobMissing:
        return None


def _is_right(blobs: Blobs, key: str, size: int, sha256: bytes) -> bool:
    """False for other bytes of the same number; what is missing or of another size was found without reading."""
    try:
        data = patiently(lambda: blobs.get(key))
    except BlobMissing:
        return True
    return len(data) != size or hashlib.sha256(data).digest() == sha256

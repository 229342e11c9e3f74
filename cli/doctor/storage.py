"""Where bytes go: the blob store, the spool, shared memory, temporary files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from cli.doctor.finding import Finding, error, mib, ok, warning
from umbel.base.blobs import Blobs
from umbel.base.errors import InvalidSetting, StorageFull, UmbelError
from umbel.base.settings import Settings

SHARED_MEMORY = Path("/dev/shm")
LITTLE_SHARED_MEMORY = 2**28  # bytes; containers have 64 MiB unless told otherwise
LITTLE_ROOM = 2**30


def check_blobs(settings: Settings) -> Iterator[Finding]:
    """A blob is written, read and deleted."""
    place = "the blob store" if settings.blob_url else f"the blob store {settings.home / 'blobs'}"
    key, data = f"imports/doctor-{uuid4()}", b"umbel doctor"
    try:
        store = Blobs(settings.blobs, min_free=settings.min_free_bytes)
        store.check_room(0)
        store.put(key, data)
        read = store.get(key)
        store.delete(key)
    except StorageFull as full:
        yield error("blobs", full.detail, "Free some of its disk, or lower UMBEL_MIN_FREE_BYTES.")
    except (UmbelError, OSError) as refused:
        remedy = "Set UMBEL_BLOB_URL right." if isinstance(refused, InvalidSetting) else _permission(settings)
        yield error("blobs", f"A blob cannot be written to {place}, read and deleted: {refused}", remedy)
    else:
        if read != data:
            yield error("blobs", f"What is read from {place} is not what was written.", "See to its disk or bucket.")
            return
        free = f"; {mib(shutil.disk_usage(store.folder).free)} free" if store.folder else ""
        yield ok("blobs", f"A blob was written to {place}, read and deleted{free}.")


def _permission(settings: Settings) -> str:
    return (
        "Let the user of the service write there, or set UMBEL_BLOB_URL."
        if settings.blobs.startswith("file:")
        else "See to the bucket's rights: read, write, list, delete; and to the AWS_… variables."
    )


def check_room(settings: Settings) -> Iterator[Finding]:
    """Whether large requests, temporary files and the API's figures have a place."""
    yield _folder("spool", settings.spool or settings.home / "spool", settings.max_bytes, "UMBEL_SPOOL")
    yield _folder("temporary files", Path(tempfile.gettempdir()), LITTLE_ROOM, "TMPDIR")
    if not SHARED_MEMORY.is_dir():
        yield ok("shared memory", f"There is no {SHARED_MEMORY}; files take its place.")
        return
    room = shutil.disk_usage(SHARED_MEMORY)
    found = f"{SHARED_MEMORY} has {mib(room.free)} of {mib(room.total)} free."
    small = warning(
        "shared memory", found, "Give the container more: `--shm-size 256m`, or an emptyDir of medium Memory."
    )
    yield small if room.free < LITTLE_SHARED_MEMORY else ok("shared memory", found)


def _folder(check: str, folder: Path, least: int, setting: str) -> Finding:
    """Whether files can be made there, or where it will be made; and its room."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as refused:
        remedy = f"Let the user of the service write there, or set {setting}."
        return error(check, f"No file can be made in {there}: {refused.strerror}.", remedy)
    free = shutil.disk_usage(there).free
    found = f"{folder} can be written; {mib(free)} free."
    return warning(check, found, f"Free some, or set {setting}.") if free < least else ok(check, found)

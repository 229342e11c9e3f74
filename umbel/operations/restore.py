"""Restore a backup: blobs first, then the database in one transaction, so that every blob it names exists."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

from umbel.base.blobs import Blobs
from umbel.base.errors import BackupError, BlobMissing
from umbel.jobs.outcomes import retry_transient
from umbel.operations.backup import AT_ONCE, BLOBS, COPIERS, DUMP, Backup, read_backup, sha256_of, sums
from umbel.operations.reconciliation.context import Watch


def restore(folder: Path, blobs: Blobs, load: Callable[[Path], None], watch: Watch) -> list[str]:
    """Bring the backup in `folder` into an empty database and a blob store; again after an interruption.

    load: reads the dump into the database, wholly or not at all. Returns the blobs that are damaged or missing in the
    backup, which are left out. Raises BackupError; and what `load` raises, StorageFull and TransientError.
    """
    backup = read_backup(folder)
    _check_dump(folder)
    damaged = _put_blobs(folder, backup, blobs, watch)
    with watch("Reading the database", None):
        load(folder / DUMP)
    return damaged


def _check_dump(folder: Path) -> None:
    path, digest = next(sums(folder), ("", ""))
    if path != DUMP or not (folder / DUMP).is_file() or sha256_of(folder / DUMP) != digest:
        raise BackupError(f"{folder / DUMP} is missing, or not the file that was written.")


def _put_blobs(folder: Path, backup: Backup, blobs: Blobs, watch: Watch) -> list[str]:
    damaged: list[str] = []
    files: Iterator[tuple[str, str]] = (line for line in sums(folder) if line[0] != DUMP)
    with (
        ThreadPoolExecutor(COPIERS, thread_name_prefix="copy") as copiers,
        watch("Copying images", backup.blobs) as advance,
    ):
        while some := list(islice(files, AT_ONCE)):
            whole = copiers.map(partial(_put_blob, folder, blobs), some)
            damaged += [path for (path, _), fine in zip(some, whole, strict=True) if not fine]
            advance(len(some))
    return damaged


def _put_blob(folder: Path, blobs: Blobs, file: tuple[str, str]) -> bool:
    """Put one file of a backup into the store, unless it is there; whether it was what the backup says."""
    path, digest = file
    source, key = folder / path, path.removeprefix(f"{BLOBS}/")
    if not source.is_file() or sha256_of(source) != digest:
        return False
    retry_transient(lambda: _put(source, blobs, key))
    return True


def _put(source: Path, blobs: Blobs, key: str) -> None:
    try:
        if blobs.size(key) == source.stat().st_size:
            return  # put whole by an interrupted restore
    except BlobMissing:
        pass
    with source.open("rb") as file:
        blobs.put_stream(key, file)

"""A backup: the database and the bytes it names, in a folder that `sha256sum -c SHA256SUMS` can check by itself.

    DIR/backup.json     what it is; written last, so a folder without it holds no whole backup
    DIR/SHA256SUMS      every other file with its SHA-256
    DIR/database.dump   pg_dump's custom format
    DIR/blobs/KEY       bytes; those that are there already are not copied again, for a blob never changes

The service goes on meanwhile. What was deleted after the database was written, and before its bytes were copied, would
be missing: so the database is written again, until what it names was copied whole.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path

from pydantic import BaseModel, ValidationError

from umbel.base.blobs import CHUNK, Blobs
from umbel.base.errors import BackupError, BlobMissing, TransientError
from umbel.jobs.outcomes import retry_transient
from umbel.models.checkpoints import blob_keys, split_key
from umbel.operations.dump import Owned, Snapshot
from umbel.operations.reconciliation.context import Watch

FORMAT = 1
DESCRIPTION, SUMS, DUMP, BLOBS = "backup.json", "SHA256SUMS", "database.dump", "blobs"
UNFINISHED = ".part"
COPIERS = 8  # a remote store is mostly waiting
AT_ONCE = 1_000  # blobs handed to them
TRIES = 5  # how often the database is dumped again because images were deleted meanwhile


class Backup(BaseModel):
    """What backup.json says. missing: blobs that the database names but the store lacks, or holds with other bytes."""

    format: int = FORMAT
    umbel: str
    schema_revision: str
    created_at: datetime
    images: int
    blobs: int
    blob_bytes: int
    dump_bytes: int
    missing: list[str] = []


@dataclass(frozen=True, slots=True)
class Origin:
    """What is backed up. dump: writes the database of that snapshot to a file."""

    snapshot: Callable[[], AbstractContextManager[Snapshot]]
    dump: Callable[[Snapshot, Path], None]
    blobs: Blobs
    umbel: str
    schema_revision: str


@dataclass(slots=True)
class _Copied:
    """The result of one dump and the copying of its blobs."""

    images: int = 0
    count: int = 0
    bytes: int = 0
    missing: set[str] = field(default_factory=set)


def back_up(origin: Origin, folder: Path, watch: Watch) -> Backup:
    """Write a backup into `folder`, or bring the one there up to date; it stays whole until the new one is.

    Raises BackupError for a folder with other things in it; DumpFailed, NotReady, TransientError, OSError.
    """
    _take(folder)
    created_at = datetime.now(UTC)
    before: set[str] | None = None
    with ThreadPoolExecutor(COPIERS, thread_name_prefix="copy") as copiers:
        for _ in range(TRIES):
            copied = _copy(origin, folder, copiers, watch)
            # Missing in two looks, it was not deleted in between: the store has lost it, and a copy would not help.
            if not copied.missing or copied.missing == before:
                break
            before = copied.missing
        else:
            raise TransientError("Images are being deleted faster than they can be copied; try again later.")
    backup = Backup(
        umbel=origin.umbel,
        schema_revision=origin.schema_revision,
        created_at=created_at,
        images=copied.images,
        blobs=copied.count,
        blob_bytes=copied.bytes,
        dump_bytes=(folder / (DUMP + UNFINISHED)).stat().st_size,
        missing=sorted(copied.missing),
    )
    _finish(folder, backup)
    return backup


def read_backup(folder: Path) -> Backup:
    """What `folder` holds. Raises BackupError if that is no whole backup, or one of a format of later versions."""
    try:
        backup = Backup.model_validate_json((folder / DESCRIPTION).read_bytes())
    except (OSError, ValidationError) as error:
        raise BackupError(f"{folder} holds no whole backup: {DESCRIPTION} is missing or damaged.") from error
    if backup.format != FORMAT:
        raise BackupError(f"{folder} was written by Umbel {backup.umbel} in a format that this version cannot read.")
    return backup


def sums(folder: Path) -> Iterator[tuple[str, str]]:
    """(path within the folder, SHA-256 in hexadecimal) of every file of a backup. Raises BackupError."""
    try:
        with (folder / SUMS).open(encoding="utf-8") as lines:
            for line in lines:
                digest, _, path = line.rstrip("\n").partition("  ")
                if len(digest) != 64 or not path or ".." in Path(path).parts or Path(path).is_absolute():
                    raise BackupError(f"{folder / SUMS} has a line that names no file: {line.strip()[:100]!r}.")
                yield path, digest
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"{folder / SUMS} cannot be read: {error}.") from error


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _take(folder: Path) -> None:
    """Create the folder, or check that it holds only a backup, whole or interrupted. Raises BackupError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ours = {DESCRIPTION, SUMS, DUMP, BLOBS}
    strange = [path.name for path in folder.iterdir() if path.name.removesuffix(UNFINISHED) not in ours]
    if strange:
        raise BackupError(f"{folder} holds other things than a backup ({strange[0]}): name a folder of its own.")


def _copy(origin: Origin, folder: Path, copiers: Executor, watch: Watch) -> _Copied:
    """Write the database as it is now, then copy what it names; SHA256SUMS lists both."""
    wanted = folder / (BLOBS + UNFINISHED)
    dump = folder / (DUMP + UNFINISHED)
    copied, named = _Copied(), 0
    with (
        origin.snapshot() as snapshot,
        watch("Writing the database", None),
        wanted.open("w", encoding="utf-8") as names,
    ):
        copied.images = snapshot.images()
        for owned in _owned(snapshot, origin.blobs):
            names.write(f"{owned.key}\t{'' if owned.size is None else owned.size}\t{owned.sha256 or ''}\n")
            named += 1
        origin.dump(snapshot, dump)
    with (
        wanted.open(encoding="utf-8") as lines,
        (folder / (SUMS + UNFINISHED)).open("w", encoding="utf-8") as listed,
        watch("Copying images", named) as advance,
    ):
        listed.write(f"{sha256_of(dump)}  {DUMP}\n")
        while some := [_parsed(line) for line in islice(lines, AT_ONCE)]:
            done = copiers.map(partial(_copy_blob, origin.blobs, folder / BLOBS), some)
            for owned, digest in zip(some, done, strict=True):
                if digest is None:
                    copied.missing.add(owned.key)
                    continue
                copied.count += 1
                copied.bytes += (folder / BLOBS / owned.key).stat().st_size
                listed.write(f"{digest}  {BLOBS}/{owned.key}\n")
            advance(len(some))
    wanted.unlink()
    return copied


def _owned(snapshot: Snapshot, blobs: Blobs) -> Iterator[Owned]:
    yield from snapshot.blobs()
    for sha256 in snapshot.models():
        weights, card = blob_keys(sha256)
        yield Owned(weights, None, sha256)
        yield Owned(card, None, None)
        if blobs.exists(split := split_key(sha256)):
            yield Owned(split, None, None)


def _parsed(line: str) -> Owned:
    key, size, sha256 = line.rstrip("\n").split("\t")
    return Owned(key, int(size) if size else None, sha256 or None)


def _copy_blob(blobs: Blobs, folder: Path, owned: Owned) -> str | None:
    """Copy a blob unless it is there; its SHA-256. None where it is missing, or is not what the ledger says."""
    target = folder / owned.key
    if owned.sha256 and owned.size is not None and target.is_file() and target.stat().st_size == owned.size:
        return owned.sha256
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + UNFINISHED)
    try:
        digest = retry_transient(lambda: _fetch(blobs, owned.key, unfinished))
    except BlobMissing:
        return None
    if owned.sha256 and digest != owned.sha256:
        unfinished.unlink()
        return None
    unfinished.replace(target)
    return digest


def _fetch(blobs: Blobs, key: str, target: Path) -> str:
    hashed = hashlib.sha256()
    with blobs.open(key) as source, target.open("wb") as file:
        while chunk := source.read(CHUNK):
            hashed.update(chunk)
            file.write(chunk)
    return hashed.hexdigest()


def _finish(folder: Path, backup: Backup) -> None:
    """Put the new backup in the place of the old one, down to the disk, and remove what only the old one had.

    Between the first and the last step the folder holds no whole backup; all files are there, so the next run of
    `back_up` completes it.
    """
    os.sync()
    (folder / DESCRIPTION).unlink(missing_ok=True)
    for name in (DUMP, SUMS):
        (folder / (name + UNFINISHED)).replace(folder / name)
    described = folder / (DESCRIPTION + UNFINISHED)
    described.write_text(backup.model_dump_json(indent=2) + "\n")
    os.sync()
    described.replace(folder / DESCRIPTION)
    _prune(folder / BLOBS, (path for path, _ in sums(folder)))


def _prune(blobs: Path, kept: Iterable[str]) -> None:
    """Remove files that are not part of the backup, so that deleted images do not survive in it."""
    # Hashes instead of names: 60 MB for a million images. A collision would only leave one file too many.
    hashes = {hash(path) for path in kept}
    for folder, _, names in os.walk(blobs, topdown=False):
        for name in names:
            path = Path(folder, name)
            if hash(f"{BLOBS}/{path.relative_to(blobs).as_posix()}") not in hashes:
                path.unlink()
        if not any(Path(folder).iterdir()):
            Path(folder).rmdir()

"""Picture bytes, uploaded archives and model files, in a folder or an object store behind the same few verbs.

Images that stay in place (umbel/base/in_place.py) are read by the same verbs; what would write or remove them does not.
"""

import errno
import io
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from umbel.base.errors import BlobMissing, InvalidSetting, StorageFull, TransientError
from umbel.base.in_place import Originals, find_location, parts_of, stays_in_place
from umbel.base.settings import Settings, settings

if TYPE_CHECKING:
    from obstore.store import RetryConfig

CHUNK = 2**20  # bytes at a time, when a blob is streamed in or out
PART = 16 * 2**20  # a multipart upload has at most 10 000 parts, so this bounds a blob at 156 GiB
PARTS_AT_ONCE = 4
DELETED_AT_ONCE = 8
# Of one request to a store. What takes longer is told, and tried again by who asked: jobs, the cleanup, the client.
RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}


class Readable(Protocol):
    """All that is asked of a stream of bytes."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob as it is listed. size: bytes; modified: when it was written, with its time zone."""

    key: str
    size: int
    modified: datetime


class Blobs:
    """A blob store. Keys are relative paths; a blob never changes once written."""

    def __init__(self, url: str, *, min_free: int = 0, originals: Originals | None = None) -> None:
        """url: file:///folder (made if absent) or anything obstore takes, such as s3://bucket/prefix.

        min_free: a folder takes no more when fewer bytes than this are left on its disk; Postgres may live there too.
        originals: reads what stays in place.
        Raises InvalidSetting for a folder that cannot be made, or a URL that obstore does not take.
        """
        self._min_free = min_free
        self._originals = originals or Originals((), None)
        parts = urlsplit(url)
        self.folder = Path(unquote(parts.path)) if parts.scheme == "file" else None
        try:
            self._store = LocalStore(self.folder, mkdir=True) if self.folder else from_url(url, retry_config=RETRIES)
        except (BaseError, OSError, ValueError) as error:
            place = self.folder or f"{parts.scheme}://{parts.hostname}{parts.path}"  # without a password
            raise InvalidSetting(f"The blob store {place} (UMBEL_BLOB_URL) cannot be used: {error}.") from error

    def put(self, key: str, data: bytes) -> None:
        """Write a blob, whole or not at all, and on a folder down to the disk: what is accepted survives a power cut.

        Raises StorageFull, TransientError.
        """
        self._leave_room()
        try:
            obstore.put(self._store, key, data)
            if self.folder:
                _sync(self.folder / key)
        except (BaseError, OSError) as error:
            raise _translated(error, key) from error

    def put_stream(self, key: str, stream: Readable, *, part: int = PART, at_once: int = PARTS_AT_ONCE) -> None:
        """Write a blob of any size without holding it in memory; whole or not at all and as durably as `put`.

        part, at_once: what is held of it, bytes and number; a blob has at most 10,000 parts.
        Raises StorageFull, TransientError; and what reading the stream raises, after which there is no blob either.
        """
        chunks = _Chunks(stream, self._leave_room)
        try:
            obstore.put(self._store, key, chunks, chunk_size=part, max_concurrency=at_once)
            if self.folder:
                _sync(self.folder / key)
        except (BaseError, OSError) as error:
            if chunks.failed:
                raise  # the stream's own failure, not the store's
            raise _translated(error, key) from error

    def get(self, key: str) -> bytes:
        """The whole blob. Raises BlobMissing, TransientError."""
        if location := find_location(key):
            return self._originals.get(location)
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except (BaseError, OSError) as error:
            raise _translated(error, key) from error

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """At most `length` bytes from the byte `start` on; fewer, or none, where the blob ends.

        Raises BlobMissing, TransientError.
        """
        if length <= 0:
            return b""
        if location := find_location(key):
            return self._originals.get_range(location, start, length)
        try:
            return bytes(obstore.get_range(self._store, key, start=start, length=length))
        except (BaseError, OSError) as error:
            # Stores differ in how they say that a range begins behind the end; the size says it everywhere.
            if not isinstance(error, FileNotFoundError) and start >= self.size(key):
                return b""
            raise _translated(error, key) from error

    def open(self, key: str) -> BinaryIO:
        """The blob as a seekable file, read ahead by a MiB at a time. For one thread; others open it again.

        Raises BlobMissing, TransientError, here and while reading.
        """
        return io.BufferedReader(self.open_file(key) or _BlobFile(self, key), CHUNK)

    def open_file(self, key: str) -> io.FileIO | None:
        """The file that the blob is in a store that is a folder; None in others. Raises BlobMissing, TransientError."""
        if location := find_location(key):
            return self._originals.open_file(location)
        try:
            return (self.folder / key).open("rb", buffering=0) if self.folder else None
        except OSError as error:
            raise _translated(error, key) from error

    async def stream(self, key: str) -> tuple[int, AsyncIterator[bytes]]:
        """The blob's size, and its bytes in parts of a MiB and more. Raises BlobMissing, TransientError, also later."""
        if location := find_location(key):
            return await self._originals.stream(location, CHUNK)
        try:
            found = await obstore.get_async(self._store, key)
        except (BaseError, OSError) as error:
            raise _translated(error, key) from error
        return found.meta["size"], parts_of(found, CHUNK, lambda error: _translated(error, key))

    def size(self, key: str) -> int:
        """Bytes of the blob. Raises BlobMissing, TransientError."""
        if location := find_location(key):
            return self._originals.size(location)
        try:
            return int(obstore.head(self._store, key)["size"])
        except (BaseError, OSError) as error:
            raise _translated(error, key) from error

    def exists(self, key: str) -> bool:
        """Raises TransientError when the store cannot tell."""
        try:
            self.size(key)
        except BlobMissing:
            return False
        return True

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """The blobs below a prefix (whole segments of a key: "a/b" holds "a/b/c", not "a/bc"), in no set order.

        Read from the store as the iteration goes. Raises TransientError.
        """
        try:
            for page in obstore.list(self._store, prefix, chunk_size=1000):
                for found in page:
                    yield BlobInfo(found["path"], found["size"], found["last_modified"])
        except (BaseError, OSError) as error:
            raise _translated(error, prefix) from error

    def check_room(self, size: int) -> None:
        """Raises StorageFull if a folder's disk has no room for so many bytes more; other stores are not asked."""
        if self.folder and (free := shutil.disk_usage(self.folder).free) < self._min_free + size:
            raise StorageFull(
                f"The disk of the blob store has {free:,} bytes left: there is no room for {size:,}, since"
                f" {self._min_free:,} are to stay free."
            )

    def _leave_room(self) -> None:
        """Raises StorageFull."""
        if self.folder and shutil.disk_usage(self.folder).free < self._min_free:
            raise StorageFull(f"The disk of the blob store has less than {self._min_free >> 20:,} MiB left.")

    def delete_all(self, keys: Sequence[str]) -> None:
        """Remove blobs, several at once: a remote store is mostly waiting. Raises TransientError at the first it keeps.

        Those that were not begun by then stay, too: a store that hangs takes the time of one request, and not of all.
        """
        with ThreadPoolExecutor(DELETED_AT_ONCE, thread_name_prefix="delete") as pool:
            try:
                for _ in pool.map(self.delete, keys):
                    pass
            except TransientError:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def delete(self, key: str) -> None:
        """Remove a blob; one that is gone already is no error, and one in place stays. Raises TransientError."""
        if stays_in_place(key):
            return
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise _translated(error, key) from error


class _BlobFile(io.RawIOBase):
    """A blob as an unbuffered file: each read is a request."""

    def __init__(self, blobs: Blobs, key: str) -> None:
        self._blobs, self._key, self._at = blobs, key, 0
        self._size = blobs.size(key)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if self._at < 0:
            raise ValueError("a position before the beginning")
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        length = min(len(buffer), self._size - self._at)
        data = self._blobs.get_range(self._key, self._at, length)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class _Chunks:
    """A stream as an iterator, which remembers whether it was the stream that failed, or there was no room for it."""

    def __init__(self, stream: Readable, leave_room: Callable[[], None]) -> None:
        self._stream, self._leave_room, self.failed = stream, leave_room, False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = self._stream.read(CHUNK)
            self._leave_room()
        except BaseException:
            self.failed = True
            raise
        if not chunk:
            raise StopIteration
        return chunk


@cache
def blobs() -> Blobs:
    """The blob store of this process's settings."""
    return blobs_of(settings())


def blobs_of(settings: Settings) -> Blobs:
    """The blob store of these settings. Raises InvalidSetting."""
    originals = Originals(settings.import_roots, settings.s3_endpoint)
    return Blobs(settings.blobs, min_free=settings.min_free_bytes, originals=originals)


def _sync(path: Path) -> None:
    for name in (path, path.parent):  # the bytes, then the directory entry
        handle = os.open(name, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _translated(error: Exception, key: str) -> Exception:
    if isinstance(error, FileNotFoundError):
        return BlobMissing(f"The stored bytes {key} are missing from the blob store.")
    text = str(error)
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if full or "No space left" in text or "quota exceeded" in text or "File too large" in text:
        return StorageFull("The blob store is full.")
    return TransientError(f"The blob store failed: {text.splitlines()[0]}.")

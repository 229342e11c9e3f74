"""Uploaded archives and manifests on their way into the blob store, never whole in memory nor unpacked to disk."""

import tarfile
from collections.abc import Iterator
from itertools import chain
from typing import Literal

from umbel.base.blobs import CHUNK, Blobs, Readable
from umbel.base.errors import ArchiveBomb, SourceTooLarge, UnsupportedArchive, UnsupportedManifest
from umbel.base.settings import Settings
from umbel.imports.sources.decompress import COMPRESSIONS, decompressed

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
UTF8_BOM = b"\xef\xbb\xbf"
UNJUDGED = 2**20  # bytes that may come out before the ratio is looked at: the first ones always come from little


def receive_archive(stream: Readable, blobs: Blobs, key: str, settings: Settings) -> Literal["zip", "tar"]:
    """Store an uploaded zip as it is, a tar (plain, gzip, bzip2, xz: by its bytes, not its name) as a plain tar.

    Nothing is left behind if it fails. Raises UnsupportedArchive, SourceTooLarge, ArchiveBomb, SourceError (a
    compressed tar that is damaged or cut short), StorageFull, TransientError; and what reading the stream raises.
    """
    upload = _Upload(stream, settings.archive_bytes)
    start = _at_least(upload, tarfile.BLOCKSIZE)
    if start.startswith(ZIP_MAGIC):
        blobs.put_stream(key, _Joined(chain([start], _chunks(upload))))
        return "zip"
    unpacked: Iterator[bytes] = chain([start], _chunks(upload))
    for magic, compression in COMPRESSIONS.items():
        if start.startswith(magic):
            unpacked = _bounded(decompressed(unpacked, compression), upload, settings)
            break
    blobs.put_stream(key, _Joined(_as_tar(unpacked)))
    return "tar"


def receive_manifest(stream: Readable, blobs: Blobs, key: str, settings: Settings) -> Literal["csv", "jsonl"]:
    """Store an uploaded manifest as it is, and say which kind it is: JSON Lines begin with a brace.

    Raises UnsupportedManifest, SourceTooLarge, StorageFull, TransientError; and what reading the stream raises.
    """
    upload = _Upload(stream, settings.archive_bytes)
    start = _at_least(upload, CHUNK)
    text = start.removeprefix(UTF8_BOM).lstrip()
    if not text or b"\0" in start:
        raise UnsupportedManifest("The manifest is empty or not UTF-8 text.")
    blobs.put_stream(key, _Joined(chain([start], _chunks(upload))))
    return "jsonl" if text.startswith(b"{") else "csv"


def _as_tar(unpacked: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, once they have begun as a tar does."""
    start = b""
    while len(start) < tarfile.BLOCKSIZE and (chunk := next(unpacked, b"")):
        start += chunk
    try:
        tarfile.TarInfo.frombuf(start[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError) as error:
        raise UnsupportedArchive("The file is neither a zip nor a tar (plain, gzip, bzip2 or xz).") from error
    yield start
    yield from unpacked


def _bounded(unpacked: Iterator[bytes], upload: "_Upload", settings: Settings) -> Iterator[bytes]:
    """The same chunks, as long as they stay within what may come out. Raises SourceTooLarge, ArchiveBomb."""
    total = 0
    for chunk in unpacked:
        total += len(chunk)
        if total > settings.archive_bytes:
            raise SourceTooLarge(f"The archive unpacks to more than {settings.archive_bytes:,} bytes.")
        if total > UNJUDGED + settings.archive_ratio * upload.bytes_read:
            raise ArchiveBomb(f"The archive unpacks to more than {settings.archive_ratio} times its packed size.")
        yield chunk


def _at_least(stream: Readable, size: int) -> bytes:
    """The first `size` bytes; fewer only where the stream ends. A read may bring fewer than it was asked for."""
    start = b""
    while len(start) < size and (chunk := stream.read(size - len(start))):
        start += chunk
    return start


def _chunks(stream: Readable) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


class _Upload:
    """A stream that counts what was read from it, and ends with SourceTooLarge when that is too much."""

    def __init__(self, stream: Readable, most: int) -> None:
        self._stream, self._most, self.bytes_read = stream, most, 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.bytes_read += len(data)
        if self.bytes_read > self._most:
            raise SourceTooLarge(f"The upload has more than the {self._most:,} bytes that are taken.")
        return data


class _Joined:
    """Chunks as a stream. Each read brings the next chunk, whatever size was asked for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = filter(None, chunks)

    def read(self, size: int) -> bytes:
        return next(self._chunks, b"")

"""Uploaded archives and manifests on their way into the blob store: never whole in memory, never unpacked to disk.

gzip, bzip2 and xz are undone as the bytes arrive. The standard library's files (GzipFile, BZ2File, LZMAFile) would do
that too, but give no way to bound the memory that an xz header asks for.
"""

import lzma
import tarfile
import zlib
from bz2 import BZ2Decompressor
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Literal, Protocol

from umbel.base.blobs import CHUNK, Blobs, Readable
from umbel.base.errors import ArchiveBomb, SourceError, SourceTooLarge, UnsupportedArchive, UnsupportedManifest
from umbel.base.settings import Settings
from umbel.imports.sources.manifest_records import stored_records
from umbel.imports.sources.zip_directory import NO_DIRECTORY, find_directory

HEAD = 4096  # bytes of a list that tell how it is written
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08", b"PK00")  # the last two: of one that may be split
UNJUDGED = 2**20  # bytes that may come out before the ratio is checked: the first ones always come from few
MOST_MEMORY = 256 * 2**20  # for xz, whose header chooses; `xz -9` needs 65 MiB
UNSUPPORTED = {
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!\x1a\x07": "RAR",
    b"(\xb5/\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"LZIP": "lzip",
    b"\x1f\x9d": "compress (.Z)",
    b"MSCF": "cabinet",
    b"0707": "cpio",
}
NO_ARCHIVE = "The file is neither a zip nor a tar (plain, or packed by gzip, bzip2, xz or lzma)."


def receive_archive(stream: Readable, blobs: Blobs, key: str, settings: Settings) -> Literal["zip", "tar"]:
    """Store an uploaded zip as it is, a tar (plain, gzip, bzip2, xz, lzma: by its bytes, not its name) as a plain tar.

    Nothing stays in the blob store if it fails. Raises UnsupportedArchive, SourceTooLarge, ArchiveBomb, SourceError (a
    zip without its directory, a compressed tar that is damaged or cut short), StorageFull, TransientError; and what
    reading the stream raises.
    """
    upload = _Upload(stream, settings.archive_bytes)
    start = _at_least(upload, tarfile.BLOCKSIZE)
    whole: Iterator[bytes] = chain([start], _chunks(upload))
    for magic, kind in UNSUPPORTED.items():
        if start.startswith(magic):
            raise UnsupportedArchive(f"Archives of the kind {kind} are not supported: pack the pictures as zip or tar.")
    for magic in COMPRESSIONS:
        if start.startswith(magic):
            unpacked = _bounded(decompressed(whole, magic), upload, settings)
            blobs.put_stream(key, _Joined(_as_tar(unpacked)))
            return "tar"
    if _is_tar(start):
        blobs.put_stream(key, _Joined(whole))
        return "tar"
    _receive_zip(whole, blobs, key)
    return "zip"


def _receive_zip(whole: Iterator[bytes], blobs: Blobs, key: str) -> None:
    """Store what may be a zip: only its end tells, since anything may precede one, such as a program that unpacks it.

    Raises SourceError.
    """
    blobs.put_stream(key, _Joined(whole))
    try:
        with blobs.open(key) as file:
            find_directory(file, blobs.size(key))
    except SourceError as error:
        start = blobs.get_range(key, 0, 4)
        blobs.delete(key)
        if error.detail == NO_DIRECTORY and not start.startswith(ZIP_MAGIC):
            raise UnsupportedArchive(NO_ARCHIVE) from error
        raise


def receive_manifest(stream: Readable, blobs: Blobs, key: str, settings: Settings) -> None:
    """Check an uploaded manifest, which may be packed, and store its records.

    Nothing stays in the blob store if it fails. Raises BadManifest, UnsupportedManifest, SourceTooLarge, ArchiveBomb,
    SourceError, StorageFull, TransientError; and what reading the stream raises.
    """
    upload = _Upload(stream, settings.archive_bytes)
    start = _at_least(upload, HEAD)
    if start.startswith(ZIP_MAGIC):
        raise UnsupportedManifest("The file is a zip or an Excel workbook, not a list: save it as CSV (UTF-8).")
    text: Iterator[bytes] = chain([start], _chunks(upload))
    for magic in COMPRESSIONS:
        if start.startswith(magic):
            text, start = _bounded(decompressed(text, magic), upload, settings), b""
            while len(start) < HEAD and (chunk := next(text, b"")):
                start += chunk
            text = chain([start], text)
            break
    blobs.put_stream(key, _Joined(stored_records(text, start[:HEAD], settings.archive_entries)))


def _as_tar(unpacked: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, if they begin as a tar does. Raises UnsupportedArchive."""
    start = b""
    while len(start) < tarfile.BLOCKSIZE and (chunk := next(unpacked, b"")):
        start += chunk
    if not _is_tar(start):
        raise UnsupportedArchive(NO_ARCHIVE)
    yield start
    yield from unpacked


def _is_tar(start: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(start[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


def _bounded(unpacked: Iterator[bytes], upload: "_Upload", settings: Settings) -> Iterator[bytes]:
    """The same chunks, within the limits on size and ratio. Raises SourceTooLarge, ArchiveBomb."""
    total = 0
    for chunk in unpacked:
        total += len(chunk)
        if total > settings.archive_bytes:
            raise SourceTooLarge(f"The archive unpacks to more than {settings.archive_bytes:,} bytes.")
        if total > UNJUDGED + settings.archive_ratio * upload.bytes_read:
            raise ArchiveBomb(f"The archive unpacks to more than {settings.archive_ratio} times its packed size.")
        yield chunk


def _at_least(stream: Readable, size: int) -> bytes:
    """The first `size` bytes; fewer only where the stream ends. A single read may return fewer than asked for."""
    start = b""
    while len(start) < size and (chunk := stream.read(size - len(start))):
        start += chunk
    return start


def _chunks(stream: Readable) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


class Decompressor(Protocol):
    """The common part of bz2.BZ2Decompressor and lzma.LZMADecompressor."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class GzipDecompressor:
    """zlib's decompressor with the interface of the other two: it keeps the input that it had no room for."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail and not self.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


COMPRESSIONS: dict[bytes, Callable[[], Decompressor]] = {
    b"\x1f\x8b": GzipDecompressor,
    b"BZh": BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_MEMORY),
    b"\x5d\x00\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=MOST_MEMORY),
}
"""By the bytes that a compressed stream begins with."""


def decompressed(packed: Iterator[bytes], magic: bytes) -> Iterator[bytes]:
    """The unpacked bytes, at most a chunk at a time; concatenated streams (`pigz`, `pbzip2`, `cat`) count as one.

    Zeros and whatever else follows the last stream are ignored, as `gzip` and `tar` do. Raises SourceError where the
    data is damaged or cut short, and what `packed` raises.
    """
    rest = _next_stream(b"", packed, len(magic))
    while rest.startswith(magic):
        unpacker = COMPRESSIONS[magic]()
        while not unpacker.eof:
            if unpacker.needs_input and not rest and not (rest := next(packed, b"")):
                raise SourceError("The compressed archive is cut short.")
            data, rest = rest, b""
            if out := _unpacked(unpacker, data):
                yield out
        rest = _next_stream(unpacker.unused_data, packed, len(magic))


def _next_stream(rest: bytes, packed: Iterator[bytes], size: int) -> bytes:
    """The rest, without zeros in front, with at least `size` bytes, if there are as many to come."""
    rest = rest.lstrip(b"\0")
    while len(rest) < size and (chunk := next(packed, b"")):
        rest = (rest + chunk).lstrip(b"\0")
    return rest


def _unpacked(unpacker: Decompressor, data: bytes) -> bytes:
    try:
        return unpacker.decompress(data, CHUNK)
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise SourceError("The compressed archive is damaged.") from error


class _Upload:
    """A stream that counts the bytes read from it. Raises SourceTooLarge beyond `most`."""

    def __init__(self, stream: Readable, most: int) -> None:
        self._stream, self._most, self.bytes_read = stream, most, 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.bytes_read += len(data)
        if self.bytes_read > self._most:
            raise SourceTooLarge(f"The upload has more than the {self._most:,} bytes that are taken.")
        return data


class _Joined:
    """Chunks as a stream. Each read returns the next chunk, whatever size was asked for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = filter(None, chunks)

    def read(self, size: int) -> bytes:
        return next(self._chunks, b"")

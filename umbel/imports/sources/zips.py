"""An uploaded zip, read where it lies in the blob store."""

import json
import stat
import zlib
from bz2 import BZ2Decompressor
from collections.abc import Iterator

import numpy as np

from umbel.base.blobs import Blobs
from umbel.base.errors import (
    ArchiveBomb,
    BlobMissing,
    CorruptEntry,
    FileTooLarge,
    ImageError,
    NestedArchive,
    SourceError,
    SourceTooLarge,
    Unreadable,
    UnsafePath,
)
from umbel.base.settings import Settings
from umbel.imports.sources.names import (
    hidden,
    is_archive,
    may_be_image,
    printable,
    starts_as_archive,
    unsafe_in_archive,
)
from umbel.imports.sources.source import Entry, PassedOver
from umbel.imports.sources.zip_directory import Directory, Record, find_directory, records

ENCRYPTED = 0x1 | 0x40 | 0x2000
STORED, DEFLATED, BZIP2 = 0, 8, 12
LOCAL_HEADER = 30
USUAL_EXTRA = 256  # bytes of a local header's extra fields that are fetched along with the data
MOST_GROWTH = 1024  # bytes by which packing can make a picture longer, beside a thousandth


class Zip:
    """The pictures in a zip, in its directory's order. A position is a number in that order.

    A locator says where an entry's bytes are and what must come out of them, so reading needs no directory.
    """

    def __init__(self, key: str, blobs: Blobs, settings: Settings) -> None:
        """Raises SourceError when the archive is not in the blob store."""
        self._key, self._blobs, self._settings = key, blobs, settings
        try:
            self._size = blobs.size(key)
        except BlobMissing as error:
            raise SourceError("The uploaded archive is no longer there.") from error

    def entries(self, after: str | None = None) -> Iterator[Entry | PassedOver]:
        first = int(after) + 1 if after else 0
        with self._blobs.open(self._key) as file:
            directory = find_directory(file, self._size)
            # Twice through the directory: what it claims as a whole is checked before any of it is believed.
            overlapping = _overlapping(self._spans(records(file, directory), directory))
            for number, record in enumerate(records(file, directory)):
                if number >= first and not record.name.endswith("/"):
                    yield self._judged(str(number), record, bool(overlapping[number]))

    def read(self, locator: str) -> bytes:
        start, name_bytes, packed, size, crc, method = json.loads(locator)
        if size > self._settings.max_bytes or packed > _longest_packed(size):
            raise FileTooLarge("The entry is larger than what is taken.")
        data = _unpacked(self._raw(start, name_bytes, packed), method, size)
        if zlib.crc32(data) != crc:
            raise CorruptEntry("The entry's checksum does not fit its bytes.")
        if starts_as_archive(data):
            raise NestedArchive("The entry is an archive itself.")
        return data

    def close(self) -> None:
        pass  # every reader opens the blob for itself

    def _spans(self, found: Iterator[Record], directory: Directory) -> Iterator[tuple[int, int]]:
        """First and last byte of every entry. Raises SourceTooLarge."""
        most_entries, most_bytes = self._settings.archive_entries, self._settings.archive_bytes
        total = 0
        for number, record in enumerate(found):
            total += record.size
            if number >= most_entries or directory.entries > most_entries:
                raise SourceTooLarge(f"The zip has more than the {most_entries:,} entries that are taken.")
            if total > most_bytes:
                raise SourceTooLarge(f"The zip unpacks to more than the {most_bytes:,} bytes that are taken.")
            yield record.start, record.end

    def _judged(self, position: str, record: Record, overlaps: bool) -> Entry | PassedOver:
        name = printable(record.name)
        rejected: ImageError | None = _unsafe(record)
        if rejected is None:
            if hidden(record.name):
                return PassedOver(position, name)
            if is_archive(record.name):
                rejected = NestedArchive("Archives inside an archive are not unpacked.")
            elif not may_be_image(record.name):
                return PassedOver(position, name)
            else:
                rejected = _unreadable(record, overlaps) or self._too_large(record)
        fields = (record.start, record.name_bytes, record.packed, record.size, record.crc, record.method)
        return Entry(position, name, json.dumps(fields), rejected=rejected)

    def _too_large(self, record: Record) -> ImageError | None:
        max_bytes, ratio = self._settings.max_bytes, self._settings.archive_ratio
        if record.size > max_bytes:
            return FileTooLarge(f"The file has {record.size:,} bytes; at most {max_bytes:,} are taken.")
        if record.size > ratio * record.packed:
            return ArchiveBomb(f"The entry unpacks to more than {ratio} times its packed size.")
        return None

    def _raw(self, start: int, name_bytes: int, packed: int) -> bytes:
        """The packed bytes, nearly always with a single request. Raises CorruptEntry."""
        reach = LOCAL_HEADER + name_bytes + USUAL_EXTRA + packed
        data = self._blobs.get_range(self._key, start, reach)
        if len(data) < LOCAL_HEADER or data[:4] != b"PK\x03\x04":
            raise CorruptEntry("There is no entry where the zip's directory says.")
        skipped = LOCAL_HEADER + int.from_bytes(data[26:28], "little") + int.from_bytes(data[28:30], "little")
        if len(data) < skipped + packed:
            data += self._blobs.get_range(self._key, start + len(data), skipped + packed - len(data))
        if len(data) < skipped + packed:
            raise CorruptEntry("The entry is cut short.")
        return data[skipped : skipped + packed]


def _longest_packed(size: int) -> int:
    return size + size // 1000 + MOST_GROWTH


def _unsafe(record: Record) -> UnsafePath | None:
    if reason := unsafe_in_archive(record.name):
        return UnsafePath(f"The path {reason}.")
    if stat.S_IFMT(record.mode) not in (0, stat.S_IFREG):
        return UnsafePath("It is a link or a device, and those are not taken from archives.")
    return None


def _unreadable(record: Record, overlaps: bool) -> ImageError | None:
    if record.flags & ENCRYPTED:
        return Unreadable("The entry is encrypted.")
    if record.method not in (STORED, DEFLATED, BZIP2):
        return Unreadable(f"The entry is packed by method {record.method}, which is not supported.")
    if overlaps:
        return ArchiveBomb("The entry shares bytes with another one.")
    if record.packed > _longest_packed(record.size):
        return CorruptEntry("The entry has far more bytes packed than unpacked.")
    return None


def _unpacked(raw: bytes, method: int, size: int) -> bytes:
    """Exactly `size` bytes, and never more than one byte beyond in memory. Raises CorruptEntry."""
    try:
        match method:
            case 0:
                data = raw
            case 8:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, size + 1)
            case _:
                data = BZ2Decompressor().decompress(raw, size + 1)
    except (zlib.error, OSError, EOFError) as error:
        raise CorruptEntry("The entry cannot be unpacked.") from error
    if len(data) != size:
        raise CorruptEntry("The entry does not unpack to the size that the zip's directory says.")
    return data


def _overlapping(spans: Iterator[tuple[int, int]]) -> np.ndarray:
    """Which of the spans share a byte with any other: (n,) of bool. 33 bytes of memory for each."""
    bounds = np.fromiter(spans, dtype=np.dtype((np.int64, 2)))
    order = np.argsort(bounds[:, 0], kind="stable")
    starts, furthest = bounds[order, 0], np.maximum.accumulate(bounds[order, 1])
    found = np.zeros(len(bounds), dtype=bool)
    found[order[1:]] |= starts[1:] < furthest[:-1]
    found[order[:-1]] |= starts[1:] < bounds[order[:-1], 1]
    return found

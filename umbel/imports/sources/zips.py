"""An uploaded zip, read where it lies in the blob store."""

import json
import stat
import zlib
from bz2 import BZ2Decompressor
from collections.abc import Iterator

import numpy as np

from umbel.base.errors import ArchiveBomb, CorruptEntry, FileTooLarge, ImageError, SourceTooLarge, Unreadable
from umbel.imports.sources.archive import Archive, check_content
from umbel.imports.sources.source import Entry, Skipped
from umbel.imports.sources.zip_directory import Directory, Record, find_directory, records

ENCRYPTED = 0x1 | 0x40 | 0x2000
STORED, DEFLATED, BZIP2 = 0, 8, 12
LOCAL_HEADER = 30
USUAL_EXTRA = 256  # bytes of a local header's extra fields that are fetched along with the data
MOST_GROWTH = 1024  # bytes by which packing can make an image longer, besides a thousandth


class Zip(Archive):
    """The images in a zip, in its directory's order. A position is a number in that order.

    A locator says where an entry's bytes are and what they unpack to, so reading an entry needs no directory.
    """

    def entries(self, after: str | None = None) -> Iterator[Entry | Skipped]:
        first = int(after) + 1 if after else 0
        with self._blobs.open(self._key) as file:
            directory = find_directory(file, self._size)
            # Read twice: the limits on the whole archive are checked before the first entry is listed.
            overlapping = _overlapping(self._spans(records(file, directory), directory))
            for number, record in enumerate(records(file, directory)):
                if number >= first and not record.name.endswith("/"):
                    yield self._listed(str(number), record, bool(overlapping[number]))

    def read(self, locator: str) -> bytes:
        start, name_bytes, packed, size, crc, method = json.loads(locator)
        if size > self._settings.max_bytes or packed > _longest_packed(size):
            raise FileTooLarge("The entry is larger than what is taken.")
        data = _unpacked(self._raw(start, name_bytes, packed), method, size)
        if zlib.crc32(data) != crc:
            raise CorruptEntry("The entry's checksum does not fit its bytes.")
        check_content(data)
        return data

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

    def _listed(self, position: str, record: Record, overlaps: bool) -> Entry | Skipped:
        fields = (record.start, record.name_bytes, record.packed, record.size, record.crc, record.method)
        is_file = stat.S_IFMT(record.mode) in (0, stat.S_IFREG)
        return self._entry(
            position, record.name, json.dumps(fields), is_file=is_file, fault=self._fault(record, overlaps)
        )

    def _fault(self, record: Record, overlaps: bool) -> ImageError | None:
        if record.flags & ENCRYPTED:
            return Unreadable("The entry is encrypted.")
        if record.method not in (STORED, DEFLATED, BZIP2):
            return Unreadable(f"The entry is packed by method {record.method}, which is not supported.")
        if overlaps:
            return ArchiveBomb("The entry shares bytes with another one.")
        if record.packed > _longest_packed(record.size):
            return CorruptEntry("The entry has far more bytes packed than unpacked.")
        if too_large := self._too_large(record.size):
            return too_large
        ratio = self._settings.archive_ratio
        bomb = record.size > ratio * record.packed
        return ArchiveBomb(f"The entry unpacks to more than {ratio} times its packed size.") if bomb else None

    def _raw(self, start: int, name_bytes: int, packed: int) -> bytes:
        """The packed bytes, nearly always with one request. Raises CorruptEntry."""
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


def _unpacked(raw: bytes, method: int, size: int) -> bytes:
    """Exactly `size` bytes; at most one more is ever unpacked. Raises CorruptEntry."""
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
    """Which spans share a byte with another one: (n,) of bool. Takes 33 bytes of memory a span."""
    bounds = np.fromiter(spans, dtype=np.dtype((np.int64, 2)))
    order = np.argsort(bounds[:, 0], kind="stable")
    starts, furthest = bounds[order, 0], np.maximum.accumulate(bounds[order, 1])
    found = np.zeros(len(bounds), dtype=bool)
    found[order[1:]] |= starts[1:] < furthest[:-1]
    found[order[:-1]] |= starts[1:] < bounds[order[:-1], 1]
    return found

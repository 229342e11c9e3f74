"""An uploaded zip, read where it lies in the blob store."""

import json
import lzma
import posixpath
import stat
import zlib
from bz2 import BZ2Decompressor
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
from umbel_files.kinds import START

from umbel.base.errors import (
    ArchiveBomb,
    CorruptEntry,
    FileTooLarge,
    ImageError,
    SourceTooLarge,
    Unreadable,
    UnsafePath,
)
from umbel.imports.sources.archive import Archive, check_content
from umbel.imports.sources.source import Entry, Skipped
from umbel.imports.sources.zip_directory import Directory, Record, find_directory, records

ENCRYPTED = 0x1 | 0x40 | 0x2000
STORED, DEFLATED, BZIP2, LZMA, XZ = METHODS = (0, 8, 12, 14, 95)
UNSUPPORTED = {1: "Shrink", 6: "Implode", 9: "Deflate64", 93: "Zstandard", 96: "JPEG", 98: "PPMd"}
XZ_MEMORY = 80 * 2**20  # bytes; `xz -9` needs 65 MiB
BZIP2_BLOCK = 2**20  # packed bytes of one block, about, before whose end nothing comes out
DEVICES = (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK)  # a FIFO is what `zip` makes of its standard input: a file
MOST_LINKS = 100_000  # which are held in memory
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
            links: dict[int, Record] = {}
            overlapping = _overlapping(self._spans(records(file, directory), directory, links))
            targets = self._targets(links, partial(records, file, directory), overlapping) if links else {}
            for number, record in enumerate(records(file, directory)):
                if number >= first and not record.is_folder and stat.S_IFMT(record.mode) not in DEVICES:
                    found = replace(targets[number], name=record.name) if number in targets else record
                    yield self._listed(str(number), found, bool(overlapping[number]))

    def read(self, locator: str) -> bytes:
        start, name_bytes, packed, size, crc, method = json.loads(locator)
        if size > self._settings.max_bytes or packed > _longest_packed(size):
            raise FileTooLarge("The entry is larger than what is taken.")
        data = _unpacked(self._raw(start, name_bytes, packed), method, size + 1)  # one more tells that there is more
        if len(data) != size:
            raise CorruptEntry("The entry does not unpack to the size that the zip's directory says.")
        if zlib.crc32(data) != crc:
            raise CorruptEntry("The entry's checksum does not fit its bytes.")
        check_content(data)
        return data

    def _spans(
        self, found: Iterator[Record], directory: Directory, links: dict[int, Record]
    ) -> Iterator[tuple[int, int]]:
        """First and last byte of every entry. links: is given those that are, by number. Raises SourceTooLarge."""
        most_entries, most_bytes = self._settings.archive_entries, self._settings.archive_bytes
        total = 0
        for number, record in enumerate(found):
            total += record.size
            if number >= most_entries or directory.entries > most_entries:
                raise SourceTooLarge(f"The zip has more than the {most_entries:,} entries that are taken.")
            if total > most_bytes:
                raise SourceTooLarge(f"The zip unpacks to more than the {most_bytes:,} bytes that are taken.")
            if stat.S_ISLNK(record.mode) and len(links) < MOST_LINKS:
                links[number] = record
            yield record.start, record.end

    def _targets(
        self, links: dict[int, Record], read: Callable[[], Iterator[Record]], overlapping: np.ndarray
    ) -> dict[int, Record]:
        """The files of the zip that links lead to, by the links' numbers. Raises SourceTooLarge."""
        wanted: dict[str, list[int]] = {}
        for number, link in links.items():
            with suppress(ImageError):
                if link.method in METHODS and not link.flags & ENCRYPTED and not overlapping[number]:
                    target = posixpath.join(posixpath.dirname(link.name), self._start(link).decode(errors="replace"))
                    wanted.setdefault(posixpath.normpath(target), []).append(number)
        found = {}
        for number, record in enumerate(read()):
            if (leading := wanted.get(posixpath.normpath(record.name))) and not _unreadable(
                record, overlapping[number]
            ):
                found.update(dict.fromkeys(leading, record))
        if sum(record.size for record in found.values()) > self._settings.archive_bytes:
            raise SourceTooLarge("The links of the zip lead to more bytes, taken together, than are taken.")
        return found

    def _listed(self, position: str, record: Record, overlaps: bool) -> Entry | Skipped:
        locator = json.dumps((record.start, record.name_bytes, record.packed, record.size, record.crc, record.method))
        if unreadable := _unreadable(record, overlaps):
            return self._entry(position, record.name, locator, fault=unreadable, start=None)
        fault = self._too_large(record.size) or self._disproportion(record)
        return self._entry(position, record.name, locator, fault=fault, start=partial(self._start, record))

    def _disproportion(self, record: Record) -> ImageError | None:
        if record.packed > _longest_packed(record.size):
            return CorruptEntry("The entry has far more bytes packed than unpacked.")
        ratio = self._settings.archive_ratio
        bomb = record.size > ratio * record.packed
        return ArchiveBomb(f"The entry unpacks to more than {ratio} times its packed size.") if bomb else None

    def _start(self, record: Record) -> bytes:
        packed = min(record.packed, BZIP2_BLOCK if record.method == BZIP2 else 2 * START)
        return _unpacked(self._raw(record.start, record.name_bytes, packed), record.method, START)

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


def _unreadable(record: Record, overlaps: bool) -> ImageError | None:
    """Why the entry's bytes are never read."""
    if stat.S_ISLNK(record.mode):
        return UnsafePath("It is a link that leads to no file of this zip, or one of too many: pack the file itself.")
    if record.flags & ENCRYPTED:
        return Unreadable("The entry is encrypted.")
    if overlaps:
        return ArchiveBomb("The entry shares bytes with another one.")
    if record.method not in METHODS:
        method = UNSUPPORTED.get(record.method, f"method {record.method}")
        return Unreadable(f"The entry is packed by {method}, which is not supported: pack it by Deflate.")
    return None


def _unpacked(raw: bytes, method: int, most: int) -> bytes:
    """The first `most` bytes; no more are ever unpacked. Raises CorruptEntry."""
    try:
        match method:
            case 0:
                return raw[:most]
            case 8:
                return zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, most)
            case 12:
                return BZ2Decompressor().decompress(raw, most)
            case 14:
                return lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(_lzma_alone(raw, most), most)
            case _:
                return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY).decompress(raw, most)
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise CorruptEntry("The entry cannot be unpacked.") from error


def _lzma_alone(raw: bytes, most: int) -> bytes:
    """The same stream with the header of an .lzma file in place of a zip's (APPNOTE.TXT 5.8.8).

    Its dictionary, which is memory, need not be larger than what is unpacked.
    """
    if len(raw) < 9 or raw[2:4] != b"\x05\x00":
        raise CorruptEntry("The entry cannot be unpacked.")
    dictionary = min(int.from_bytes(raw[5:9], "little"), max(most, 4096))
    return raw[4:5] + dictionary.to_bytes(4, "little") + b"\xff" * 8 + raw[9:]  # of unknown size


def _overlapping(spans: Iterator[tuple[int, int]]) -> np.ndarray:
    """Which spans share a byte with another one: (n,) of bool. Takes 33 bytes of memory a span."""
    bounds = np.fromiter(spans, dtype=np.dtype((np.int64, 2)))
    order = np.argsort(bounds[:, 0], kind="stable")
    starts, furthest = bounds[order, 0], np.maximum.accumulate(bounds[order, 1])
    found = np.zeros(len(bounds), dtype=bool)
    found[order[1:]] |= starts[1:] < furthest[:-1]
    found[order[:-1]] |= starts[1:] < bounds[order[:-1], 1]
    return found

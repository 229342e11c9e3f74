"""The directory at the end of a zip, read record by record, with memory that does not grow with its claims.

The standard library's `zipfile` cannot promise that. It reads the whole directory into objects before the first entry:
about 600 MiB for a million entries, more for a directory that understates their number, and all of it again to resume a
listing. It also rejects the whole archive for one name that is not UTF-8 or one entry of a later format version.
Layout: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.12 to 4.3.16, 4.4 and 4.5.3.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from umbel.base.errors import SourceError

END = struct.Struct("<4s4H2LH")  # signature, disks (2), entries here, entries, directory's bytes and offset, comment
END64_LOCATOR = struct.Struct("<4sLQL")  # signature, disk, offset of the zip64 end, disks
END64 = struct.Struct("<4sQ2H2L4Q")  # signature, bytes, versions, disks (2), entries (2), directory's bytes and offset
RECORD = struct.Struct("<4s4B4HL2L5H2L")
LONGEST_COMMENT = 0xFFFF
UNKNOWN32 = 0xFFFFFFFF  # "see the zip64 extra field"
UTF8 = 0x800
UNIX = (3, 19)  # the second is macOS


@dataclass(frozen=True, slots=True)
class Record:
    """The directory's record of one entry. start: offset of its local header in the file; sizes in bytes."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    start: int
    mode: int  # Unix file mode, 0 if the archive comes from elsewhere
    name_bytes: int

    @property
    def end(self) -> int:
        """The first byte behind its data, the local header's extra fields not counted."""
        return self.start + 30 + self.name_bytes + self.packed


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the directory is. shift: bytes in front of the archive, as in a self-extracting one."""

    offset: int
    size: int
    entries: int
    shift: int


def find_directory(file: BinaryIO, file_size: int) -> Directory:
    """The archive's directory. Raises SourceError when there is none, or none that fits into the file."""
    tail_at = max(0, file_size - LONGEST_COMMENT - END.size - END64_LOCATOR.size)
    file.seek(tail_at)
    tail = file.read(file_size - tail_at)
    at = tail.rfind(b"PK\x05\x06", 0, len(tail) - END.size + 4)
    if at < 0:
        raise SourceError("The zip has no directory: it is cut short or damaged.")
    _, disk, _, _, entries, size, offset, _ = END.unpack_from(tail, at)
    end = tail_at + at
    if (locator_at := at - END64_LOCATOR.size) >= 0 and tail[locator_at : locator_at + 4] == b"PK\x06\x07":
        end, entries, size, offset = _zip64_end(file, tail_at + locator_at)
    shift = end - size - offset
    if shift < 0 or (disk and disk != 0xFFFF):
        raise SourceError("The zip's directory does not fit into the file: it is cut short or damaged.")
    return Directory(offset + shift, size, entries, shift)


def records(file: BinaryIO, directory: Directory) -> Iterator[Record]:
    """The entries in the directory's order. Raises SourceError where it is damaged, after the entries before."""
    file.seek(directory.offset)
    left = directory.size
    while left > 0:
        head = file.read(RECORD.size)
        if len(head) < RECORD.size or head[:4] != b"PK\x01\x02":
            raise SourceError("The zip's directory is damaged.")
        fields = RECORD.unpack(head)
        lengths = fields[12:15]  # name, extra, comment
        rest = file.read(sum(lengths))
        left -= len(head) + sum(lengths)
        if len(rest) < sum(lengths) or left < 0:
            raise SourceError("The zip's directory is damaged.")
        record = _record(fields, rest[: lengths[0]], rest[lengths[0] : lengths[0] + lengths[1]], directory.shift)
        if record.end > directory.offset:
            raise SourceError("The zip's directory is damaged: an entry would lie behind the archive's data.")
        yield record


def _zip64_end(file: BinaryIO, locator_at: int) -> tuple[int, int, int, int]:
    """Where the zip64 end of directory is; entries, size and offset that it gives."""
    file.seek(locator_at)
    _, _, offset, _ = END64_LOCATOR.unpack(file.read(END64_LOCATOR.size))
    for at in (locator_at - END64.size, offset):  # right before its locator, unless it has an extensible part
        file.seek(max(at, 0))
        data = file.read(END64.size)
        if len(data) == END64.size and data[:4] == b"PK\x06\x06":
            return (at, *END64.unpack(data)[7:])
    raise SourceError("The zip's directory is damaged.")


def _record(fields: tuple[int, ...], name: bytes, extra: bytes, shift: int) -> Record:
    made_by, flags, method, crc = fields[2], fields[5], fields[6], fields[9]
    packed, size, start, attributes = fields[10], fields[11], fields[18], fields[17]
    if UNKNOWN32 in (packed, size, start):
        wide = _zip64_values(extra)
        try:
            size = next(wide) if size == UNKNOWN32 else size
            packed = next(wide) if packed == UNKNOWN32 else packed
            start = next(wide) if start == UNKNOWN32 else start
        except (StopIteration, struct.error) as error:
            raise SourceError("The zip's directory is damaged.") from error
    mode = attributes >> 16 if made_by in UNIX else 0
    return Record(_decoded(name, flags), flags, method, crc, packed, size, start + shift, mode, len(name))


def _zip64_values(extra: bytes) -> Iterator[int]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            yield from (struct.unpack_from("<Q", extra, at + 4 + 8 * i)[0] for i in range(length // 8))
            return
        at += 4 + length


def _decoded(name: bytes, flags: int) -> str:
    """The name as UTF-8, even without the flag for it, as macOS writes it; else in the DOS code page."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("utf-8", "surrogateescape") if flags & UTF8 else name.decode("cp437")

"""The directory at the end of a zip, read record by record, with memory that does not grow with its claims.

Why no library does this: ADR 18.
Layout: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.12 to 4.3.16, 4.4, 4.5.3 and 4.6.9.
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from umbel.base.errors import SourceError

END = struct.Struct("<4s4H2LH")  # signature, disks (2), entries here, entries, directory's bytes and offset, comment
END64_LOCATOR = struct.Struct("<4sLQL")  # signature, disk, offset of the zip64 end, disks
END64 = struct.Struct("<4sQ2H2L4Q")  # signature, bytes, versions, disks (2), entries (2), directory's bytes and offset
RECORD = struct.Struct("<4s4B4HL2L5H2L")
RECORD_MAGIC, SIGNATURE_MAGIC, END_MAGIC = b"PK\x01\x02", b"PK\x05\x05", b"PK\x05\x06"
TAIL = 2**20  # bytes in which the end is looked for: the longest comment, and what may follow the archive
MOST_ENDS = 16  # places with that signature where a directory is looked for
WRAP = 2**32
UNKNOWN32 = 0xFFFFFFFF  # "see the zip64 extra field"
NO_DISK = 0xFFFF
UTF8 = 0x800
FOLDER = 0x10  # of MS-DOS attributes, which most tools write on other systems, too
UNIX = (3, 19)  # the second is macOS
WINDOWS = (0, 6, 10, 14)  # FAT, HPFS, NTFS, VFAT
ZIP64, UNICODE_PATH = b"\x01\x00", b"up"  # extra fields; the second is Info-ZIP's
DAMAGED = "The zip's directory is damaged."
NO_DIRECTORY = "The zip has no directory at its end: it is cut short or damaged, or one of several volumes."
VOLUMES = (
    "The zip is one of several volumes: join them into one file, for example by `zip -s 0 LAST.zip --out ALL.zip`."
)


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
    is_folder: bool

    @property
    def end(self) -> int:
        """The first byte behind its data, the local header's extra fields not counted."""
        return self.start + 30 + self.name_bytes + self.packed


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the directory is. shift: bytes in front of the archive, as in a self-extracting one.

    wraps: offsets are only told modulo 4 GiB, as in large zips that macOS makes, which have no zip64 fields.
    """

    offset: int
    size: int
    entries: int
    shift: int
    wraps: bool = False


def find_directory(file: BinaryIO, file_size: int) -> Directory:
    """The archive's directory. Raises SourceError when there is none, or none that fits into the file.

    The signature of its end may also be in the archive's comment or in what follows the archive. The last one counts
    before which there is a directory.
    """
    tail_at = max(0, file_size - TAIL)
    file.seek(tail_at)
    tail = file.read(file_size - tail_at)
    reason = NO_DIRECTORY
    for at in islice(_ends(tail), MOST_ENDS):
        try:
            return _directory_before(file, tail, at, tail_at)
        except SourceError as error:
            reason = VOLUMES if VOLUMES in (reason, error.detail) else error.detail
    raise SourceError(reason)


def records(file: BinaryIO, directory: Directory) -> Iterator[Record]:
    """The entries in the directory's order. Raises SourceError where it is damaged, after the entries before."""
    file.seek(directory.offset)
    left, before = directory.size, 0
    shift = 0 if directory.wraps else directory.shift
    while left > 0:
        head = file.read(RECORD.size)
        if head.startswith(SIGNATURE_MAGIC):
            return  # the directory may end with a digital signature of itself
        if len(head) < RECORD.size or not head.startswith(RECORD_MAGIC):
            raise SourceError(DAMAGED)
        fields = RECORD.unpack(head)
        lengths = fields[12:15]  # name, extra, comment
        rest = file.read(sum(lengths))
        left -= len(head) + sum(lengths)
        if len(rest) < sum(lengths) or left < 0:
            raise SourceError(DAMAGED)
        if directory.wraps and fields[18] < before:
            shift += WRAP
        before = fields[18]
        record = _record(fields, rest[: lengths[0]], rest[lengths[0] : lengths[0] + lengths[1]], shift)
        if record.end > directory.offset:
            raise SourceError("The zip's directory is damaged: an entry would lie behind the archive's data.")
        yield record


def _ends(tail: bytes) -> Iterator[int]:
    """Where an end of directory may be, the last one first."""
    at = len(tail)
    while (at := tail.rfind(END_MAGIC, 0, at)) >= 0:
        if at + END.size <= len(tail):
            yield at


def _directory_before(file: BinaryIO, tail: bytes, at: int, tail_at: int) -> Directory:
    """The directory whose end is at `at` of the file's tail. Raises SourceError when there is none."""
    _, disk, _, _, entries, size, offset, _ = END.unpack_from(tail, at)
    end = tail_at + at
    locator_at = at - END64_LOCATOR.size
    if is_wide := locator_at >= 0 and tail[locator_at : locator_at + 4] == b"PK\x06\x07":
        end, entries, size, offset = _zip64_end(file, tail_at + locator_at)
    elif 0 < disk < NO_DISK:
        raise SourceError(VOLUMES)
    # Right before its end, with other bytes in front of the archive; or where it says, with others behind it.
    for start in (end - size, offset):
        if offset <= start <= end - size and _begins_at(file, start, size):
            shift = start - offset
            return Directory(start, size, entries, shift, wraps=not is_wide and shift > 0 and shift % WRAP == 0)
    raise SourceError("The zip's directory does not fit into the file: it is cut short or damaged.")


def _begins_at(file: BinaryIO, start: int, size: int) -> bool:
    file.seek(start)
    return size == 0 or file.read(len(RECORD_MAGIC)) == RECORD_MAGIC


def _zip64_end(file: BinaryIO, locator_at: int) -> tuple[int, int, int, int]:
    """Where the zip64 end of directory is; entries, size and offset that it gives."""
    file.seek(locator_at)
    _, _, offset, disks = END64_LOCATOR.unpack(file.read(END64_LOCATOR.size))
    if 1 < disks < UNKNOWN32:
        raise SourceError(VOLUMES)
    for at in (locator_at - END64.size, offset):  # right before its locator, unless it has an extensible part
        file.seek(max(at, 0))
        data = file.read(END64.size)
        if len(data) == END64.size and data[:4] == b"PK\x06\x06":
            return (at, *END64.unpack(data)[7:])
    raise SourceError(DAMAGED)


def _record(fields: tuple[int, ...], raw_name: bytes, extra: bytes, shift: int) -> Record:
    host, flags, method, crc = fields[2], fields[5], fields[6], fields[9]
    packed, size, start, attributes = fields[10], fields[11], fields[18], fields[17]
    if UNKNOWN32 in (packed, size, start):
        data = _extra_field(extra, ZIP64)
        wide = iter(struct.unpack_from(f"<{len(data) // 8}Q", data))
        try:
            size = next(wide) if size == UNKNOWN32 else size
            packed = next(wide) if packed == UNKNOWN32 else packed
            start = next(wide) if start == UNKNOWN32 else start
        except StopIteration as error:
            raise SourceError(DAMAGED) from error
    mode = attributes >> 16 if host in UNIX else 0
    unicode_path = _unicode_path(raw_name, extra) if UNICODE_PATH in extra else None
    name = unicode_path or _decoded(raw_name, flags)
    if host in WINDOWS:
        name = name.replace("\\", "/")  # PowerShell 5 and others write it; no name there can contain one
    is_folder = name.endswith("/") or (size == 0 and bool(attributes & FOLDER or stat.S_ISDIR(mode)))
    return Record(name, flags, method, crc, packed, size, start + shift, mode, len(raw_name), is_folder)


def _extra_field(extra: bytes, wanted: bytes) -> bytes:
    """The data of one kind of extra field; empty if there is none."""
    at = 0
    while at + 4 <= len(extra):
        end = at + 4 + int.from_bytes(extra[at + 2 : at + 4], "little")
        if extra.startswith(wanted, at):
            return extra[at + 4 : end]
        at = end
    return b""


def _unicode_path(raw_name: bytes, extra: bytes) -> str | None:
    """The name in Info-ZIP's own field, where that is of this name; tools that change names may not know it."""
    data = _extra_field(extra, UNICODE_PATH)
    if len(data) < 5 or data[0] != 1 or int.from_bytes(data[1:5], "little") != zlib.crc32(raw_name):
        return None
    try:
        return data[5:].decode()
    except UnicodeDecodeError:
        return None


def _decoded(name: bytes, flags: int) -> str:
    """The name as UTF-8, even without the flag for it, as macOS writes it; else in the DOS code page."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("utf-8", "surrogateescape") if flags & UTF8 else name.decode("cp437")

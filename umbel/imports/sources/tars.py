"""An uploaded tar, read where it lies in the blob store. `receive_archive` has unpacked it if it was compressed."""

import posixpath
import tarfile
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from umbel_files.kinds import START
from umbel_files.names import printable

from umbel.base.blobs import Readable
from umbel.base.errors import CorruptEntry, ImageError, SourceError, SourceTooLarge, UmbelError, Unreadable, UnsafePath
from umbel.imports.sources.archive import Archive, check_content
from umbel.imports.sources.source import Entry, Skipped

LONGEST_HEADER = 2**20  # bytes of one entry's headers, long names and attributes included
NOT_FILES = (b"V", b"D", b"A")  # the label of a volume, the names in a folder (both of GNU), access rights (Solaris)
CONTINUED = b"M"
CUT_SHORT = "The tar ends in the middle of an entry: it is cut short, or goes on in another volume."


class Tar(Archive):
    """The images in a tar, in its order.

    A position is the entry's number, the offset of the next header and the number of bytes that links led to so far, so
    resuming reads nothing twice, unless there are links. A locator is the offset and the number of the entry's bytes;
    of a link those of the file that it leads to. A global pax header only applies until the listing is resumed.
    """

    def entries(self, after: str | None = None) -> Iterator[Entry | Skipped]:
        if self._size > self._settings.archive_bytes:
            raise SourceTooLarge(f"The tar has more than the {self._settings.archive_bytes:,} bytes that are taken.")
        number, offset, linked = map(int, (after or "0:0:0").split(":"))
        files: _Files | None = None
        for member, behind in self._members(offset):
            number += 1
            if number > self._settings.archive_entries:
                raise SourceTooLarge(f"The tar has more than {self._settings.archive_entries:,} entries.")
            if member.isdir() or member.isdev() or member.type in NOT_FILES:
                continue
            found = _Found(member.name, member.offset_data, member.size, _unreadable(member))
            if _is_link(member):
                files = files or self._files()
                found = _linked(member, files)
                linked += found.size
                if linked > self._settings.archive_bytes:
                    raise SourceTooLarge("The links of the tar lead to more bytes, taken together, than are taken.")
            yield self._listed(f"{number}:{behind}:{linked}", found)

    def read(self, locator: str) -> bytes:
        offset, size = map(int, locator.split(":"))
        if too_large := self._too_large(size):
            raise too_large
        data = self._blobs.get_range(self._key, offset, size)
        if len(data) < size:
            raise CorruptEntry("The entry is cut short.")
        check_content(data)
        return data

    def _members(self, offset: int) -> Iterator[tuple[tarfile.TarInfo, int]]:
        """The entries from an offset on, each with the offset behind it. Raises SourceError behind the last whole one.

        tarfile treats a header that it cannot read as the end, so `_check_end` looks at what is there.
        """
        with self._blobs.open(self._key) as file:
            file.seek(offset)
            headers = _Headers(file)
            tar: Any = None  # the one iterator of tarfile that keeps no list is not in its types
            while True:
                headers.left = LONGEST_HEADER
                try:
                    tar = tar or tarfile.TarFile(fileobj=headers, mode="r")  # type: ignore[arg-type]
                    member = tar.next()
                except UmbelError:
                    raise
                except Exception as error:  # the parser raises nearly anything on hostile headers
                    raise SourceError(_damage(error)) from error
                if member is None:
                    return self._check_end(tar.offset)
                tar.members.clear()  # tarfile would keep them all
                if tar.offset <= offset or (_has_bytes(member) and member.offset_data + member.size > self._size):
                    raise SourceError(CUT_SHORT)
                offset = tar.offset
                yield member, min(offset, self._size)

    def _check_end(self, offset: int) -> None:
        """A tar ends with blocks of zeros, or (some writers) right behind the last entry."""
        block = self._blobs.get_range(self._key, offset, tarfile.BLOCKSIZE)
        if block.count(b"\0") != len(block):
            raise SourceError("The tar is damaged: there is no header where one should be.")

    def _listed(self, position: str, found: "_Found") -> Entry | Skipped:
        start = partial(self._blobs.get_range, self._key, found.offset, min(found.size, START))
        return self._entry(
            position,
            found.name,
            f"{found.offset}:{found.size}",
            fault=found.fault or self._too_large(found.size),
            start=None if found.fault else start,
        )

    def _files(self) -> "_Files":
        return _Files(member for member, _ in islice(self._members(0), self._settings.archive_entries))


@dataclass(frozen=True, slots=True)
class _Found:
    """A file, or a link to one. offset, size: of its bytes in the tar; fault: why they cannot be had."""

    name: str
    offset: int
    size: int
    fault: ImageError | None


class _Files:
    """Where the files of a tar are, by their names: 24 bytes of memory each."""

    def __init__(self, members: Iterator[tarfile.TarInfo]) -> None:
        rows = array("q")
        with suppress(SourceError):  # which the listing raises when it comes to it
            for member in members:
                if _has_bytes(member) and not _unreadable(member):
                    rows.extend((hash(posixpath.normpath(member.name)), member.offset_data, member.size))
        found = np.frombuffer(rows, np.int64).reshape(-1, 3)
        self._rows = found[np.argsort(found[:, 0], kind="stable")]

    def find(self, name: str) -> tuple[int, int] | None:
        """Offset and number of the bytes of the last file of that name."""
        key = hash(posixpath.normpath(name))
        at = int(np.searchsorted(self._rows[:, 0], key, side="right")) - 1
        return (int(self._rows[at, 1]), int(self._rows[at, 2])) if at >= 0 and self._rows[at, 0] == key else None


class _Headers:
    """The archive as tarfile reads it: headers only, and a bounded number of bytes for one entry.

    A name or an attribute may claim any length, and tarfile would read all of it into memory.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.left = LONGEST_HEADER
        self.seek, self.tell = file.seek, file.tell  # type: ignore[attr-defined]

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.left:
            raise SourceError("The tar is damaged: the header of an entry is far too long.")
        self.left -= size
        return self._file.read(size)


def _linked(member: tarfile.TarInfo, files: _Files) -> _Found:
    """A link, hard or symbolic, is the file of the archive that it leads to, under another name."""
    target = member.linkname
    if member.issym():
        target = posixpath.join(posixpath.dirname(member.name), target)
    if place := files.find(target):
        return _Found(member.name, *place, fault=None)
    fault = UnsafePath(f"It is a link to {printable(member.linkname)!r}, which is no file of this archive.")
    return _Found(member.name, 0, 0, fault)


def _is_link(member: tarfile.TarInfo) -> bool:
    return member.issym() or member.islnk()


def _has_bytes(member: tarfile.TarInfo) -> bool:
    """Whether as many bytes as its size lie behind its header, as with files of unknown kinds, too."""
    return not (member.isdir() or member.isdev() or _is_link(member) or member.issparse())


def _unreadable(member: tarfile.TarInfo) -> Unreadable | None:
    if member.issparse():
        return Unreadable("The entry is stored without its holes, which is not supported: pack it without --sparse.")
    if member.type == CONTINUED:
        return Unreadable("The entry is the rest of a file that begins in another volume: join the volumes first.")
    return None


def _damage(error: Exception) -> str:
    if isinstance(error, tarfile.ReadError) and "end of data" in str(error):
        return CUT_SHORT
    return "The tar is damaged: a header cannot be read."

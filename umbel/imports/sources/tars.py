"""An uploaded tar, read where it lies in the blob store. `receive_archive` has unpacked it if it was compressed."""

import tarfile
from collections.abc import Iterator
from typing import Any

from umbel.base.blobs import Readable
from umbel.base.errors import CorruptEntry, ImageError, SourceError, SourceTooLarge, UmbelError, Unreadable
from umbel.imports.sources.archive import Archive, check_content
from umbel.imports.sources.source import Entry, Skipped

LONGEST_HEADER = 2**20  # bytes of one entry's headers, long names and attributes included
CUT_SHORT = "The tar ends in the middle of an entry: it is cut short."


class Tar(Archive):
    """The images in a tar, in its order.

    A position is the entry's number and the offset of the next header, so resuming reads nothing twice. A locator is
    the offset and the number of the entry's bytes. A global pax header only applies until the listing is resumed.
    """

    def entries(self, after: str | None = None) -> Iterator[Entry | Skipped]:
        if self._size > self._settings.archive_bytes:
            raise SourceTooLarge(f"The tar has more than the {self._settings.archive_bytes:,} bytes that are taken.")
        number, offset = map(int, after.split(":")) if after else (0, 0)
        for member, behind in self._members(offset):
            number += 1
            if number > self._settings.archive_entries:
                raise SourceTooLarge(f"The tar has more than {self._settings.archive_entries:,} entries.")
            if not member.isdir():
                yield self._listed(f"{number}:{behind}", member)

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

    def _listed(self, position: str, member: tarfile.TarInfo) -> Entry | Skipped:
        locator = f"{member.offset_data}:{member.size}"
        is_file = not (member.issym() or member.islnk() or member.isdev())
        return self._entry(position, member.name, locator, is_file=is_file, fault=self._fault(member))

    def _fault(self, member: tarfile.TarInfo) -> ImageError | None:
        if not _has_bytes(member):
            return Unreadable("The entry is sparse or of an unknown kind, and those are not supported.")
        return self._too_large(member.size)


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


def _has_bytes(member: tarfile.TarInfo) -> bool:
    """Whether the entry's bytes lie behind its header, all of them in one piece."""
    return member.isreg() and not member.issparse()


def _damage(error: Exception) -> str:
    if isinstance(error, tarfile.ReadError) and "end of data" in str(error):
        return CUT_SHORT
    return "The tar is damaged: a header cannot be read."

"""An uploaded tar, read where it lies in the blob store, where it is always a plain one: see `receive_archive`."""

import tarfile
from collections.abc import Iterator
from typing import Any

from umbel.base.blobs import Blobs, Readable
from umbel.base.errors import (
    BlobMissing,
    CorruptEntry,
    FileTooLarge,
    ImageError,
    NestedArchive,
    SourceError,
    SourceTooLarge,
    UmbelError,
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

LONGEST_HEADER = 2**20  # bytes of one entry's headers, long names and attributes included
CUT_SHORT = "The tar ends in the middle of an entry: it is cut short."


class Tar:
    """The pictures in a tar, in its order.

    A position is the entry's number and the place of the next header, so going on reads nothing twice; a locator is
    the place and the number of the entry's bytes. (A global pax header holds for what is listed in one go only.)
    """

    def __init__(self, key: str, blobs: Blobs, settings: Settings) -> None:
        """Raises SourceError when the archive is not in the blob store."""
        self._key, self._blobs, self._settings = key, blobs, settings
        try:
            self._size = blobs.size(key)
        except BlobMissing as error:
            raise SourceError("The uploaded archive is no longer there.") from error

    def entries(self, after: str | None = None) -> Iterator[Entry | PassedOver]:
        if self._size > self._settings.archive_bytes:
            raise SourceTooLarge(f"The tar has more than the {self._settings.archive_bytes:,} bytes that are taken.")
        number, offset = map(int, after.split(":")) if after else (0, 0)
        for member, behind in self._members(offset):
            number += 1
            if number > self._settings.archive_entries:
                raise SourceTooLarge(f"The tar has more than {self._settings.archive_entries:,} entries.")
            if not member.isdir():
                yield self._judged(f"{number}:{behind}", member)

    def read(self, locator: str) -> bytes:
        offset, size = map(int, locator.split(":"))
        if size > self._settings.max_bytes:
            raise FileTooLarge(f"The file has {size:,} bytes; at most {self._settings.max_bytes:,} are taken.")
        data = self._blobs.get_range(self._key, offset, size)
        if len(data) < size:
            raise CorruptEntry("The entry is cut short.")
        if starts_as_archive(data):
            raise NestedArchive("The entry is an archive itself.")
        return data

    def close(self) -> None:
        pass  # every reader opens the blob for itself

    def _members(self, offset: int) -> Iterator[tuple[tarfile.TarInfo, int]]:
        """The entries from an offset on, each with the offset behind it. Raises SourceError behind the last whole one.

        tarfile takes what it cannot read for the end, so the end is looked at here.
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
                tar.members.clear()  # or all of them would be kept
                if tar.offset <= offset or (_has_bytes(member) and member.offset_data + member.size > self._size):
                    raise SourceError(CUT_SHORT)
                offset = tar.offset
                yield member, min(offset, self._size)

    def _check_end(self, offset: int) -> None:
        """A tar ends with blocks of zeros, or (some writers) right behind the last entry."""
        block = self._blobs.get_range(self._key, offset, tarfile.BLOCKSIZE)
        if block.count(b"\0") != len(block):
            raise SourceError("The tar is damaged: there is no header where one should be.")

    def _judged(self, position: str, member: tarfile.TarInfo) -> Entry | PassedOver:
        name = printable(member.name)
        rejected: ImageError | None = _unsafe(member)
        if rejected is None:
            if hidden(member.name):
                return PassedOver(position, name)
            if is_archive(member.name):
                rejected = NestedArchive("Archives inside an archive are not unpacked.")
            elif not may_be_image(member.name):
                return PassedOver(position, name)
            else:
                rejected = self._unreadable(member)
        return Entry(position, name, f"{member.offset_data}:{member.size}", rejected=rejected)

    def _unreadable(self, member: tarfile.TarInfo) -> ImageError | None:
        if not _has_bytes(member):
            return Unreadable("The entry is sparse or of an unknown kind, and those are not supported.")
        if member.size > self._settings.max_bytes:
            return FileTooLarge(f"The file has {member.size:,} bytes; at most {self._settings.max_bytes:,} are taken.")
        return None


class _Headers:
    """What tarfile reads of the archive: headers, and never more than a bounded number of bytes for one entry.

    A name or an attribute may claim any length, and tarfile would read it into memory.
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


def _unsafe(member: tarfile.TarInfo) -> UnsafePath | None:
    if reason := unsafe_in_archive(member.name):
        return UnsafePath(f"The path {reason}.")
    if member.issym() or member.islnk() or member.isdev():
        return UnsafePath("It is a link or a device, and those are not taken from archives.")
    return None


def _damage(error: Exception) -> str:
    if isinstance(error, tarfile.ReadError) and "end of data" in str(error):
        return CUT_SHORT
    return "The tar is damaged: a header cannot be read."

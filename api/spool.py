"""Where large requests and answers wait: in files without a name in UMBEL_SPOOL, each written once.

The system's temporary folder may be small, or memory. What a form brings is read from where its request lies.
"""

import ctypes
import errno
import io
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from waitress import channel
from waitress.buffers import FileBasedBuffer, OverflowableBuffer, TempfileBasedBuffer

from umbel.base.errors import StackError, StorageFull
from umbel.base.settings import settings

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


def is_no_room(error: OSError) -> bool:
    """Whether a disk or a quota is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def spool_file() -> IO[bytes]:
    """A file that is gone when it is closed. Raises OSError."""
    return TemporaryFile(dir=_folder())


def check_room(size: int) -> None:
    """Raises StorageFull if a request of so many bytes has no room, by what the disk has now."""
    free = shutil.disk_usage(_folder()).free
    if size > free:
        raise StorageFull(
            f"The request has {size:,} bytes, and where requests wait (UMBEL_SPOOL) there is room for {free:,}."
        )


@cache
def _folder() -> str:
    """The system's temporary folder where UMBEL_SPOOL is unset and UMBEL_HOME cannot be written.

    Raises StackError where UMBEL_SPOOL cannot be.
    """
    folder = settings().spool or settings().home / "spool"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        if settings().spool:
            raise StackError(f"cannot write to {folder} (UMBEL_SPOOL): {error.strerror}") from error
        return tempfile.gettempdir()
    return str(folder)


BLOCK = 4096  # bytes that a file system gives back together
HOLE = 0x01 | 0x02  # FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE


def punch_hole(file: int, start: int, length: int) -> bool:
    """Give back the room that a part of a file has on its disk; it reads as zeros then. False where that cannot be.

    Source: fallocate(2), "Deallocating file space".
    """
    try:
        fallocate = ctypes.CDLL(None).fallocate
    except AttributeError:  # not Linux
        return False
    return bool(fallocate(file, HOLE, ctypes.c_int64(start), ctypes.c_int64(length)) == 0)


class PartOfFile(io.RawIOBase):
    """A part of a file that lies there already: its bytes from `start` on, as many as are said to be written.

    Closing it does not close the file.
    """

    def __init__(self, file: int, start: int) -> None:
        self._file, self._start = file, start
        self._at = self._size = 0
        self._spent = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        """The next bytes belong to the part, too."""
        self._size += memoryview(data).nbytes
        return memoryview(data).nbytes

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._size - self._at))
        read = os.preadv(self._file, [view[:length]], self._start + self._at)
        self._at += read
        if self._spent and read:
            end = self._start + self._at
            begin = (end - read) // BLOCK * BLOCK
            punch_hole(self._file, begin, end - begin)
        return read

    def spend(self, folder: Path | None) -> bool:
        """From now on bytes can be read once, and give their room back to `folder` for what is made of them there.

        False where that is on another disk, or the system cannot: nothing changes then.
        """
        if folder is not None and os.fstat(self._file).st_dev == folder.stat().st_dev:
            behind = os.fstat(self._file).st_size // BLOCK * BLOCK + BLOCK
            self._spent = punch_hole(self._file, behind, BLOCK)
        return self._spent


class _File(TempfileBasedBuffer):
    def newfile(self) -> IO[bytes]:
        return spool_file()


class Spool(OverflowableBuffer):
    """Bytes of a request or an answer; many of them in a file."""

    buf: FileBasedBuffer

    def _set_large_buffer(self) -> None:
        in_memory = self.buf
        self.buf = _File(in_memory)
        in_memory.close()
        self.overflowed = True


class _Answer(Spool):
    """Bytes that stay in memory where there is no room on the disk: reading goes on while it is full."""

    def _set_large_buffer(self) -> None:
        in_memory = self.buf.getfile()
        read_until = in_memory.tell()
        try:
            super()._set_large_buffer()
        except OSError:
            in_memory.seek(read_until)
            self.overflow = float("inf")


channel.OverflowableBuffer = _Answer  # a channel makes its buffers by this name

"""Where large requests and answers wait: in files without a name in UMBEL_HOME, whose disk takes what becomes of them.

The system's temporary folder may be small, or memory.
"""

import errno
from contextlib import suppress
from functools import cache
from tempfile import TemporaryFile
from typing import IO

from waitress import channel
from waitress.buffers import FileBasedBuffer, OverflowableBuffer, TempfileBasedBuffer

from umbel.base.settings import settings


def is_no_room(error: OSError) -> bool:
    """Whether a disk or a quota is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def spool_file() -> IO[bytes]:
    """A file that is gone when it is closed. Raises OSError."""
    return TemporaryFile(dir=_folder())


@cache
def _folder() -> str | None:
    """None where UMBEL_HOME cannot be written, as in some containers: the system's temporary folder."""
    folder = settings().home / "spool"
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
        return str(folder)
    return None


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

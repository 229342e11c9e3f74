"""Ways down from an open folder: each step is an openat that follows no link, so none can be swapped in meanwhile."""

import errno
import heapq
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from umbel.base.errors import (
    ImageError,
    SourceError,
    SourceUnreachable,
    TransientError,
    Unreadable,
    UnsafePath,
)

WINDOW = 100_000  # names of one folder that are held in memory; a larger folder is read several times
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # opening a FIFO must not wait for its writer
LINKS = (errno.ELOOP, errno.EMLINK, errno.ENOTDIR)  # what O_NOFOLLOW answers to a link, and O_DIRECTORY to a file
AWAY = (errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN)  # the server of a mounted folder
BUSY = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # this machine


def sorted_names(folder: int, start: str | None) -> Iterator[str]:
    """The names in an open folder in the order of their bytes, from `start` on (included), a window at a time."""
    low, inclusive = os.fsencode(start or ""), True
    while True:
        with os.scandir(folder) as found:
            names = (os.fsencode(each.name) for each in found)
            window = heapq.nsmallest(WINDOW, (n for n in names if n > low or (inclusive and n == low)))
        yield from map(os.fsdecode, window)
        if len(window) < WINDOW:
            return
        low, inclusive = window[-1], False


def descended(folder: int, parts: Sequence[str]) -> int:
    """The folder that `parts` lead to from an open one, which is closed. The caller closes it. Raises OSError."""
    for part in parts:
        try:
            below = os.open(part, FOLDER, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """An open file or folder, closed in the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def fault(error: OSError) -> ImageError:
    """Why an entry cannot be read. Raises TransientError when a machine is at fault and that may pass."""
    if error.errno in (*AWAY, *BUSY):
        kind = SourceUnreachable if error.errno in AWAY else TransientError
        raise kind(f"The file cannot be read now: {reason(error)}.") from error
    if error.errno in LINKS:
        return UnsafePath("A link has taken the place of the file or of a folder above it.")
    return Unreadable(f"The file cannot be read: {reason(error)}.")


def unlistable(error: OSError, what: str) -> SourceError | TransientError:
    """Why a folder cannot be listed at all."""
    away, busy = error.errno in AWAY, error.errno in BUSY
    kind = SourceUnreachable if away else TransientError if busy else SourceError
    return kind(f"{what} cannot be opened: {reason(error)}.")


def reason(error: OSError) -> str:
    """What the system says, without the path, which may be one of the server's own."""
    return (error.strerror or type(error).__name__).lower()

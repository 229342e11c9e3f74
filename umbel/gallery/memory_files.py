"""Files in memory, for what must be shown although no disk has room for it."""

import os
from contextlib import suppress
from threading import Lock
from typing import BinaryIO
from weakref import WeakSet

from umbel.base.errors import Busy, StorageFull


class MemoryFiles:
    """Files that are gone when they are closed. For a process; any thread may use it."""

    def __init__(self, most: int) -> None:
        """most: bytes of all that are open, beyond which no other is opened."""
        self._most = most
        self._open: WeakSet[BinaryIO] = WeakSet()
        self._lock = Lock()

    def new(self) -> BinaryIO:
        """A seekable file to write to. Raises Busy; StorageFull where the system has no such files."""
        if not hasattr(os, "memfd_create"):
            raise StorageFull("There is no room for the picture that was to be written.")
        with self._lock:
            if sum(map(_size, list(self._open))) >= self._most:
                raise Busy("The disk is full, and as many pictures as fit into memory are being sent.")
            file = os.fdopen(os.memfd_create("rendition"), "w+b")
            self._open.add(file)
        return file


def _size(file: BinaryIO) -> int:
    with suppress(ValueError, OSError):  # another thread is closing it
        return os.fstat(file.fileno()).st_size
    return 0

"""Memory that a decoder's process shares with its parent: a picture's bytes go in by it, and pixels come out.

A process that a picture has taken over can write what it likes here, so the parent reads nothing from it but bytes to
copy, of a length that it checks.
"""

import fcntl
import mmap
import os
import resource
import tempfile
from typing import Self

SIZE = 16 * 2**20  # bytes; what is larger goes through the socket. Pages that were never used take no memory
BEGUN = 0  # where the flag is; everything else comes behind it


class SharedMemory:
    """One task's bytes at a time. begun: the child has them and decodes; if it ends now, the image is the cause."""

    def __init__(self, file: int) -> None:
        """file: of `create`, in either process; it may be closed afterwards."""
        self._memory = mmap.mmap(file, 0)  # all of it

    @classmethod
    def create(cls) -> tuple[int, Self]:
        """A file for the child to open it by, which the caller closes, and the memory. Raises OSError."""
        file = _sized_file()
        return file, cls(file)

    @property
    def begun(self) -> bool:
        return self._memory[BEGUN] != 0

    @begun.setter
    def begun(self, value: bool) -> None:
        self._memory[BEGUN] = value

    def put(self, data: bytes) -> bool:
        """Leave bytes for the other side; False if there are too many."""
        if len(data) >= len(self._memory):
            return False
        self._memory[1 : 1 + len(data)] = data
        return True

    def get(self, length: int) -> bytearray:
        """A copy of what the other side has left. Raises ValueError for a length that cannot be."""
        if not 0 <= length < len(self._memory):
            raise ValueError(f"{length} bytes are not in this memory")
        with memoryview(self._memory) as memory:
            return bytearray(memory[1 : 1 + length])


def _sized_file() -> int:
    """Nobody can make it shorter: who read what is no longer there would be ended by a signal.

    As any file, it may be no larger than this process's files may be (RLIMIT_FSIZE).
    """
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = SIZE if most == resource.RLIM_INFINITY else min(SIZE, most)
    if not hasattr(os, "memfd_create"):  # not Linux, where nothing else confines the child either
        with tempfile.TemporaryFile() as file:
            os.ftruncate(file.fileno(), size)
            return os.dup(file.fileno())
    created = os.memfd_create("umbel-decoder", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(created, size)
        fcntl.fcntl(created, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except OSError:
        os.close(created)
        raise
    return created

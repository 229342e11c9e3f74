"""Decoded pictures, so that each is decoded once: in memory while there is room, beyond that in a temporary file."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import overload

import numpy as np
import psutil  # type: ignore[import-untyped]

from umbel.base.types import Pixels

SHARE = 0.25  # of the memory that is free when a store is made


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a picture lies in the file."""

    offset: int
    shape: tuple[int, ...]


class PixelStore(Sequence[Pixels]):
    """Pictures (height, width, 3) uint8 of any size, in the order of `keep`'s numbers. Any thread may keep and read.

    The file has no name, so that it goes with the process, however that ends.
    """

    def __init__(self, pictures: int, memory: int | None = None) -> None:
        """pictures: how many there may be; memory: bytes for them, None: a share of what is free."""
        self._kept: list[Pixels | _Place | None] = [None] * pictures
        self._room = int(psutil.virtual_memory().available * SHARE) if memory is None else memory
        self._lock = Lock()
        self._file: int | None = None
        self._end = 0

    def keep(self, number: int, pixels: Pixels) -> None:
        """Take a picture in. Raises OSError when the disk is full."""
        with self._lock:
            self._room -= pixels.nbytes
            if self._room >= 0:
                self._kept[number] = pixels
                return
            if self._file is None:
                self._file = _nameless_file()
            offset, self._end = self._end, self._end + pixels.nbytes
        _write(self._file, pixels.tobytes(), offset)
        self._kept[number] = _Place(offset, pixels.shape)

    def only(self, numbers: Sequence[int]) -> "PixelStore":
        """A store of these pictures alone, in this order; the pictures are shared."""
        chosen = PixelStore(0, 0)
        chosen._kept, chosen._file = [self._kept[number] for number in numbers], self._file
        return chosen

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, number: int) -> Pixels: ...
    @overload
    def __getitem__(self, number: slice) -> list[Pixels]: ...
    def __getitem__(self, number: int | slice) -> Pixels | list[Pixels]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        kept = self._kept[number]
        if kept is None:
            raise LookupError(f"No picture was kept as number {number}.")
        if not isinstance(kept, _Place):
            return kept
        assert self._file is not None  # there is a place only in a file
        data = os.pread(self._file, int(np.prod(kept.shape)), kept.offset)
        return np.frombuffer(data, np.uint8).reshape(kept.shape)


def _nameless_file() -> int:
    with tempfile.TemporaryFile(prefix="umbel-pixels-") as file:
        return os.dup(file.fileno())


def _write(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written

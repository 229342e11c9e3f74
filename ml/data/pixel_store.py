"""Decoded images, so that each is decoded once: in memory while there is room, beyond that in a temporary file."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import psutil  # type: ignore[import-untyped]

from umbel.base.types import Pixels

SHARE = 0.125  # of the memory that is free when a store is made; training makes two


def has_room(images: int, side: int, size: int = 0) -> bool:
    """Whether two stores take so many images, of this shorter side and as squares of `size`: in memory and on disk."""
    needed = images * 3 * (side * side * 4 / 3 + size * size)  # three channels, three by four
    disk = psutil.disk_usage(tempfile.gettempdir()).free
    return needed <= 2 * SHARE * (psutil.virtual_memory().available + disk)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an image lies in the file."""

    offset: int
    shape: tuple[int, ...]


class PixelStore:
    """Images (height, width, 3) uint8 of any size, in the order of `keep`'s numbers. Any thread may keep and read.

    The file has no name, so that it goes with the process, however that ends.
    """

    def __init__(self, images: int, memory: int | None = None) -> None:
        """images: how many there may be; memory: bytes for them, None: a share of what is free."""
        self._kept: list[Pixels | _Place | None] = [None] * images
        self._room = int(psutil.virtual_memory().available * SHARE) if memory is None else memory
        self._lock = Lock()
        self._file: int | None = None
        self._end = 0

    def keep(self, number: int, pixels: Pixels) -> None:
        """Take an image in. Raises OSError when the disk is full."""
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
        """A store of these images alone, in this order; the images are shared."""
        chosen = PixelStore(0, 0)
        chosen._kept, chosen._file = [self._kept[number] for number in numbers], self._file
        return chosen

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, number: int) -> Pixels:
        kept = self._kept[number]
        if kept is None:
            raise LookupError(f"No image was kept as number {number}.")
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

"""What every runtime offers, and what the network is to all of them: uint8 pictures in, unit vectors out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from umbel.base.types import Vectors

Batch = NDArray[np.uint8]  # (n, size, size, 3), RGB, as preprocessing left them


class Forward(Protocol):
    """A network on a runtime. As many calls as `lanes` run side by side, each on a thread that `begin_thread` began."""

    @property
    def runtime(self) -> str:
        """torch or openvino."""
        ...

    @property
    def device(self) -> str:
        """Where it runs: cpu, cuda, cuda:1, mps."""
        ...

    @property
    def precision(self) -> str:
        """Arithmetic: fp32, bf16 or int8."""
        ...

    @property
    def lanes(self) -> int:
        """Forwards that run side by side."""
        ...

    @property
    def batch(self) -> int:
        """Pictures that one forward should get when there are many."""
        ...

    def begin_thread(self, *, alone: bool = False) -> None:
        """To be called once on each thread that is to call this. alone: only with `alone`, or only without."""
        ...

    def __call__(self, batch: Batch, *, background: bool = False, alone: bool = False) -> Vectors:
        """(n, size, size, 3) → (n, dim) float32.

        background: others who compute on this machine go first. alone: no forward runs beside this one, so it may
        compute on as many threads as there are lanes.
        """
        ...


def bucket(count: int) -> int:
    """The batch size that `count` pictures are padded to: a power of two, and above 32 a multiple of 32."""
    return 1 << (count - 1).bit_length() if count <= 32 else -(-count // 32) * 32

"""The embedder that workers run: a network on the runtime that was chosen for it, whichever that is. No torch here."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from ml.card import ModelCard
from ml.runtimes.forward import Forward
from ml.threads import be_nice
from umbel.base.settings import Settings
from umbel.base.types import Box, Pixels, Vectors


class NetworkEmbedder:
    """umbel.base.types.Embedder on any runtime. Load it once a process, never before a fork; any thread may call it."""

    def __init__(self, card: ModelCard, forward: Forward, settings: Settings, *, parity: float) -> None:
        """parity: least cosine between this runtime's vectors and those of torch in float32, as measured on loading."""
        self.card = card
        self.parity = parity
        self._forward = forward
        self._limits = settings
        # On a CPU, forwards run side by side, each on one thread, rather than one after the other on all cores: no
        # thread then waits for another within a forward. On two cores torch gave 306 pictures a second instead of 245,
        # and 209 instead of 77 with another program on one of them (a descheduled OpenMP thread holds up its team).
        self._lanes = forward.lanes
        self._forwards = ThreadPoolExecutor(self._lanes, "forward", forward.begin_thread)
        # The picture of a search has all cores, on a thread that keeps them: to change how many threads one
        # computes on costs torch more than the forward takes.
        self._alone = ThreadPoolExecutor(1, "alone", partial(forward.begin_thread, alone=True))
        self._background = ThreadPoolExecutor(self._lanes, "background", self._begin_background_thread)

    def _begin_background_thread(self) -> None:
        self._forward.begin_thread()
        if self._forward.device == "cpu":
            be_nice()

    @property
    def weights_sha256(self) -> str:
        """Hash that names the model version, hex."""
        return self.card.weights_sha256

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.card.dim

    @property
    def batch_size(self) -> int:
        """Most pictures that one call should bring."""
        return self._limits.batch_size or self._forward.batch * self._lanes

    @property
    def lanes(self) -> int:
        """Forwards that run side by side."""
        return self._lanes

    @property
    def device(self) -> str:
        """Where the model runs: cpu, cuda, cuda:1, mps."""
        return self._forward.device

    @property
    def description(self) -> str:
        """Device, runtime, arithmetic and how well it agrees with torch in float32, for people."""
        return f"{self.device}, {self.runtime} {self.precision}, parity {self.parity:.5f}"

    @property
    def runtime(self) -> str:
        """What runs it: torch or openvino."""
        return self._forward.runtime

    @property
    def precision(self) -> str:
        """Its arithmetic: fp32 or bf16."""
        return self._forward.precision

    def decode(self, data: bytes, box: Box | None = None) -> Pixels:
        """File bytes → (size, size, 3) uint8, ready for `embed`; box: of this part. Thread-safe. Raises ImageError."""
        return self.card.preprocessing.decode(data, self._limits, box)

    def embed(self, pixels: Sequence[Pixels], *, background: bool = False) -> Vectors:
        """Decoded pictures → (n, dim) float32, each row of unit length, in order. Thread-safe.

        They are shared out among forwards that run side by side. background: on threads of their own which leave the
        cores to other work, so that a search does not wait until a batch of a reindex is through.
        """
        if not len(pixels):
            return np.empty((0, self.dim), np.float32)
        step = min(math.ceil(len(pixels) / self._lanes), math.ceil(self.batch_size / self._lanes))
        shares = [np.stack(pixels[at : at + step]) for at in range(0, len(pixels), step)]
        alone = len(pixels) == 1 and not background
        threads = self._background if background else self._alone if alone else self._forwards
        forward = partial(self._forward, background=background, alone=alone)
        return np.concatenate(list(threads.map(forward, shares)))

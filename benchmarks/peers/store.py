"""What every peer is asked to do, and the network that all of them are given."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from core.settings import Settings
from core.types import Pixels, Vectors
from ml.checkpoint import load_checkpoint
from ml.runtime import load_embedder
from ml.runtimes.served import ServedNetwork
from ml.runtimes.torch_forward import TorchForward
from ml.shipped import SHIPPED
from ml.threads import cores

BATCH = 32
K = 10


class Store(ABC):
    """A place for pictures that finds the most similar ones. Pictures are known by their number in `files`."""

    versions: tuple[str, ...] = ()  # packages whose versions are worth publishing

    def __init__(self, home: Path) -> None:
        self.home = home

    @abstractmethod
    def fill(self, files: Sequence[Path]) -> None:
        """Begin anew, and return when all of `files` can be found."""

    @abstractmethod
    def query(self, picture: Path) -> list[int]:
        """The K pictures most like the one in this file, closest first."""

    def close(self) -> None:  # noqa: B027 - most leave nothing running
        """Leave nothing running."""


class Model:
    """The network as one calls it who writes for a store: torch, eager, float32, one batch after the other, each on all
    cores; the pictures of a batch are decoded by our code on as many threads."""

    def __init__(self) -> None:
        network, self.card = load_checkpoint(SHIPPED)
        self._forward = TorchForward(
            ServedNetwork(network, self.card.preprocessing), torch.device("cpu"), "fp32", cores()
        )
        self._threads = ThreadPoolExecutor(cores())
        self._limits = Settings()

    def embed(self, files: Sequence[Path]) -> Vectors:
        """(n, dim) float32, unit length."""
        return self.embed_pixels(self._decoded(files))

    def embed_pixels(self, pixels: Sequence[Pixels]) -> Vectors:
        """The same of decoded pictures."""
        return self._forward(np.stack(pixels), alone=True)

    def batches(self, files: Sequence[Path]) -> Iterator[tuple[list[int], Vectors]]:
        """Numbers and vectors of BATCH files at a time."""
        for at in range(0, len(files), BATCH):
            some = files[at : at + BATCH]
            yield list(range(at, at + len(some))), self.embed(some)

    def _decoded(self, files: Sequence[Path]) -> list[Pixels]:
        decode = self.card.preprocessing.decode
        return list(self._threads.map(lambda file: decode(file.read_bytes(), self._limits), files))


class Lanes(Model):
    """The same with the forwards of a batch side by side, each on one core, as Umbel's workers run them."""

    def __init__(self) -> None:
        super().__init__()
        self._embedder = load_embedder(Settings(runtime="torch", precision="fp32"))

    def embed_pixels(self, pixels: Sequence[Pixels]) -> Vectors:
        return self._embedder.embed(pixels)


def nearest(vectors: Vectors, query: Vectors) -> list[int]:
    """The exact answer: numbers of the K vectors nearest to `query` (dim,)."""
    return [int(number) for number in np.argsort(-(vectors @ query))[:K]]

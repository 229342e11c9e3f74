"""What every peer is asked to do, and the network that all of them are given."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from ml.card import verified_card
from ml.checkpoint import load_checkpoint
from ml.runtime import load_embedder
from ml.runtimes.torch_forward import ServedNetwork, TorchForward
from ml.shipped import SHIPPED
from umbel.base.machine import cores
from umbel.base.settings import Settings
from umbel.base.types import Pixels, Vectors

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
    def query(self, image: Path) -> list[int]:
        """The K pictures most like the one in this file, closest first."""

    def close(self) -> None:  # noqa: B027 - most leave nothing running
        """Leave nothing running."""


class Model:
    """The network as one calls it who writes for a store: torch, eager, float32, one batch after the other, each on all
    cores; the pictures of a batch are decoded by our code on as many threads."""

    def __init__(self) -> None:
        self.card = verified_card(SHIPPED)
        self.embed_pixels = self.load()
        self._threads = ThreadPoolExecutor(cores())
        self._limits = Settings()

    def load(self) -> Callable[[Sequence[Pixels]], Vectors]:
        """What makes (n, dim) float32 of decoded pictures, each row of unit length."""
        network, card = load_checkpoint(SHIPPED)
        forward = TorchForward(ServedNetwork(network, card.preprocessing), torch.device("cpu"), "fp32", cores())
        return lambda pixels: forward(np.stack(pixels))

    def embed(self, files: Sequence[Path]) -> Vectors:
        """(n, dim) float32, unit length."""
        decode = self.card.preprocessing.decode
        return self.embed_pixels(list(self._threads.map(lambda file: decode(file.read_bytes(), self._limits), files)))

    def batches(self, files: Sequence[Path]) -> Iterator[tuple[list[int], Vectors]]:
        """Numbers and vectors of BATCH files at a time."""
        for at in range(0, len(files), BATCH):
            some = files[at : at + BATCH]
            yield list(range(at, at + len(some))), self.embed(some)


class ParallelModel(Model):
    """The same with the forwards of a batch side by side, each on one core, as Umbel's workers run them."""

    def load(self) -> Callable[[Sequence[Pixels]], Vectors]:
        return load_embedder(Settings(runtime="torch", precision="fp32")).embed


def nearest(vectors: Vectors, query: Vectors) -> list[int]:
    """The exact answer: numbers of the K vectors nearest to `query` (dim,)."""
    return [int(number) for number in np.argsort(-(vectors @ query))[:K]]

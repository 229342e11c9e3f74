"""What every peer is asked to do, and the network that all of them are given."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from core.settings import Settings
from core.types import Vectors
from ml.embedder import NetworkEmbedder
from ml.runtime import load_embedder

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
    """torch, eager, float32; pictures are decoded on as many threads as there are cores, as the forward is run."""

    def __init__(self) -> None:
        self.embedder: NetworkEmbedder = load_embedder(Settings(runtime="torch", precision="fp32"))
        self._threads = ThreadPoolExecutor(os.cpu_count())

    def embed(self, files: Sequence[Path]) -> Vectors:
        """(n, dim) float32, unit length."""
        pixels = list(self._threads.map(lambda file: self.embedder.decode(file.read_bytes()), files))
        return self.embedder.embed(pixels)

    def batches(self, files: Sequence[Path]) -> Iterator[tuple[list[int], Vectors]]:
        """Numbers and vectors of BATCH files at a time."""
        for at in range(0, len(files), BATCH):
            some = files[at : at + BATCH]
            yield list(range(at, at + len(some))), self.embed(some)


def nearest(vectors: Vectors, query: Vectors) -> list[int]:
    """The exact answer: numbers of the K vectors nearest to `query` (dim,)."""
    return [int(number) for number in np.argsort(-(vectors @ query))[:K]]

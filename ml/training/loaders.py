"""What makes the views of a batch: threads, of images that are kept decoded, or processes, which decode files.

The views follow from what is wanted alone, so that both make the same.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ml.data.image_files import ImageFiles
from ml.data.pixel_store import PixelStore
from umbel.base.errors import BadDataset
from umbel.base.machine import cores
from umbel.base.types import Pixels

AHEAD = 4  # batches in the making


class Wanted(NamedTuple):
    """A random view. image: its position; size: the view's side; draw: what its random numbers follow from."""

    image: int
    size: int
    draw: tuple[int, ...]


Batches = Iterable[Sequence[Wanted]]
Images = Sequence[Pixels] | PixelStore | ImageFiles
Look = Callable[[Pixels, int, np.random.Generator], Pixels]  # an image, a side, random numbers → a view
Loader = Callable[[Batches], Iterator[Tensor]]  # → (B, S, S, 3) uint8 for each batch, in order


class Views(Dataset[Any]):
    """The views of images, by what is wanted; the error itself where an image cannot be had."""

    def __init__(self, images: Images, look: Look) -> None:
        self._images, self._look = images, look

    def __getitem__(self, wanted: Wanted) -> Pixels | BadDataset:
        try:
            pixels = self._images[wanted.image]
        except BadDataset as error:  # raised in a process of a loader it would arrive wrapped in its traceback
            return error
        return self._look(pixels, wanted.size, np.random.default_rng(wanted.draw))


def stacked(views: Sequence[Pixels | BadDataset]) -> Tensor | BadDataset:
    """One batch of the views, or the first of the errors."""
    good = [one for one in views if not isinstance(one, BadDataset)]
    bad = next((one for one in views if isinstance(one, BadDataset)), None)
    return bad or torch.from_numpy(np.stack(good))


def threads(views: Views, batches: Batches) -> Iterator[Tensor]:
    """A Loader when given its views: batches are made in threads while the network learns from those before."""

    def made(batch: Sequence[Wanted]) -> Tensor | BadDataset:
        return stacked([views[wanted] for wanted in batch])

    with ThreadPoolExecutor(min(AHEAD, cores())) as pool:
        ahead: deque[Future[Tensor | BadDataset]] = deque()
        for batch in batches:
            ahead.append(pool.submit(made, batch))
            if len(ahead) >= AHEAD:
                yield _good(ahead.popleft().result())
        while ahead:
            yield _good(ahead.popleft().result())


class Processes:
    """A Loader: batches are made in processes, which live as long as it does. Views must be what they can be sent."""

    def __init__(self, views: Views, workers: int) -> None:
        self._order = _Order()
        # Spawned: a fork of a process that computes on threads may hang. Source: docs.pytorch.org, "DataLoader".
        self._loader = DataLoader(
            views,
            batch_sampler=self._order,
            num_workers=workers,
            collate_fn=stacked,
            multiprocessing_context="spawn",
            persistent_workers=True,
        )

    def __call__(self, batches: Batches) -> Iterator[Tensor]:
        self._order.batches = batches
        for batch in self._loader:
            yield _good(batch)


class _Order:
    """What the next epoch wants; the workers outlive the epochs."""

    def __init__(self) -> None:
        self.batches: Batches = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def loader(views: Views, workers: int) -> Loader:
    """Processes, as many as `workers`; threads for 0."""
    return Processes(views, workers) if workers else partial(threads, views)


def _good(batch: Tensor | BadDataset) -> Tensor:
    if isinstance(batch, BadDataset):
        raise batch
    return batch

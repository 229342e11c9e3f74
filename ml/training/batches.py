"""Batches of varied pictures, made in threads while the network learns from the ones before."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml.data.dataset import Dataset, Indices, draw_epoch
from ml.training.augment import recolour, vary
from ml.training.recipe import Recipe
from umbel.base.types import Pixels

AHEAD = 4  # batches in the making


@dataclass(frozen=True, slots=True)
class Batch:
    """pictures: (B, 3, S, S) standardised, channels last; rows: (B,) positions in the training set."""

    pictures: Tensor
    rows: Tensor


def epoch_batches(
    dataset: Dataset, chosen: Indices, labels: Indices, recipe: Recipe, *, epoch: int, size: int, first: int = 0
) -> Iterator[Batch]:
    """One epoch of full batches. The same recipe and epoch give the same batches, whatever the threads do.

    chosen: (N,) positions in the dataset; labels: (N,) their classes; size: side of the pictures; first: the batch to
    begin with, for a run that goes on in the middle of an epoch.
    """
    order = draw_epoch(labels, recipe.balance, np.random.default_rng((recipe.seed, epoch)))
    with ThreadPoolExecutor(2) as pool:
        ahead: deque[Future[Batch]] = deque()
        for number in range(first, steps_of(len(chosen), recipe)):
            rows = order[number * recipe.batch_size : (number + 1) * recipe.batch_size]
            rng = np.random.default_rng((recipe.seed, epoch, number))
            pixels = [dataset.pixels[index] for index in chosen[rows]]
            ahead.append(pool.submit(_batch, pixels, rows, size, recipe, rng))
            if len(ahead) >= AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def steps_of(pictures: int, recipe: Recipe) -> int:
    """Steps in an epoch over this many pictures."""
    return max(1, pictures // recipe.batch_size)


def _batch(pixels: list[Pixels], rows: Indices, size: int, recipe: Recipe, rng: np.random.Generator) -> Batch:
    views = np.stack([vary(picture, size, recipe, rng) for picture in pixels])
    pictures = recolour(torch.from_numpy(views).permute(0, 3, 1, 2).float().div_(255), recipe, rng)
    look = recipe.preprocessing
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (look.mean, look.std))
    standard = ((pictures - mean) / std).contiguous(memory_format=torch.channels_last)
    return Batch(standard, torch.from_numpy(rows))

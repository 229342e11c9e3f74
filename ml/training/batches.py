"""Batches of random views of images.

The views are made by torchvision's functions, with numbers drawn here: its transform classes draw from torch's one
generator, which threads would share, so that a resumed run would not see the same views.
"""

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image
from torch import Tensor, tensor

from ml.data.dataset import Dataset, Indices, draw_epoch
from ml.torchvision_ops import make_importable
from ml.training.group import ALONE, Group
from ml.training.loaders import Loader, Views, Wanted, loader
from ml.training.recipe import Recipe
from umbel.base.types import Pixels

make_importable()

from torchvision.transforms.v2 import InterpolationMode  # noqa: E402
from torchvision.transforms.v2 import functional as F  # noqa: E402

FILL = [124, 116, 104]  # ImageNet's mean color, where a distortion leaves the image
BILINEAR, BICUBIC = InterpolationMode.BILINEAR, InterpolationMode.BICUBIC


@dataclass(frozen=True, slots=True)
class Batch:
    """images: (B, 3, S, S) standardized, channels last; rows: (B,) positions in the training set."""

    images: Tensor
    rows: Tensor


def steps_of(images: int, recipe: Recipe) -> int:
    """Steps in an epoch over this many images."""
    return max(1, images // recipe.batch_size)


def view_loader(dataset: Dataset, recipe: Recipe, workers: int = 0) -> Loader:
    """What makes the views of the dataset: `workers` processes, or threads for 0."""
    return loader(Views(dataset.pixels, partial(_look, recipe)), workers)


def epoch_batches(
    load: Loader,
    chosen: Indices,
    labels: Indices,
    folders: Indices,
    recipe: Recipe,
    *,
    epoch: int,
    size: int,
    first: int = 0,
    group: Group = ALONE,
) -> Iterator[Batch]:
    """One epoch of full batches. The same recipe and epoch give the same batches, whichever loader makes them.

    load: makes the views; chosen: (N,) positions in the dataset; labels, folders: (N,) their classes and
    folders; size: side of the images; first: the batch to begin with, for a run that goes on in the middle of an epoch;
    group: of each batch only this process's share is made.
    """
    rng, balance = np.random.default_rng((recipe.seed, epoch)), recipe.balance
    order = draw_epoch(labels, folders, rng, balance=balance, folder_balance=recipe.folder_balance)
    shares = []
    for number in range(first, steps_of(len(chosen), recipe)):
        rows = order[number * recipe.batch_size : (number + 1) * recipe.batch_size]
        shares.append(group.share([(int(row), (recipe.seed, epoch, number, place)) for place, row in enumerate(rows)]))
    wanted = ([Wanted(int(chosen[row]), size, draw) for row, draw in share] for share in shares)
    for share, views in zip(shares, load(wanted), strict=True):
        yield Batch(recipe.preprocessing.normalise(views.numpy()), tensor([row for row, _ in share]))


def _look(recipe: Recipe, pixels: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    return random_view(pixels, size, recipe, rng)


def random_view(pixels: Pixels, size: int, recipe: Recipe, rng: np.random.Generator) -> Pixels:
    """An image cropped, mirrored, distorted and recolored at random: (height, width, 3) → (size, size, 3) uint8."""
    image = Image.fromarray(pixels)
    # Data sets differ in sharpness; a network that may see sharpness learns the data set instead of the subject.
    if min(image.size) > recipe.blur_sides[1] * 0.75 and rng.random() < recipe.blur:
        image = _thumbnail(image, recipe.blur_sides, rng)
    box = _crop_box(image.width, image.height, recipe.crop_area, rng)
    image = F.resized_crop(image, *box, [size, size], BICUBIC if rng.random() < 0.5 else BILINEAR)
    for choice in rng.integers(len(DISTORTIONS), size=recipe.distortions):
        image = DISTORTIONS[choice](image, rng.uniform(-recipe.magnitude, recipe.magnitude))
    if rng.random() < 0.5:
        image = F.horizontal_flip(image)
    for adjust in (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation):
        image = adjust(image, rng.uniform(1 - recipe.color, 1 + recipe.color))
    return np.asarray(F.adjust_hue(image, rng.uniform(-recipe.hue, recipe.hue)))


def _thumbnail(image: Image.Image, sides: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Shrunk to a random shorter side, half the time through a JPEG."""
    side = round(math.exp(rng.uniform(*np.log(sides))))
    small = F.resize(image, [min(side, *image.size)], BICUBIC)
    if rng.random() < 0.5:
        return small
    coded = io.BytesIO()  # F.jpeg calls an operator of torchvision's that is missing beside the CPU build of torch
    small.save(coded, "JPEG", quality=int(rng.integers(70, 96)))
    return Image.open(coded).convert("RGB")


def _crop_box(
    width: int, height: int, area: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a random part, of this share of the area and an aspect between 3:4 and 4:3."""
    aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
    wanted = rng.uniform(*area) * width * height
    crop_width = min(width, max(1, round(math.sqrt(wanted * aspect))))
    crop_height = min(height, max(1, round(math.sqrt(wanted / aspect))))
    top, left = rng.integers(height - crop_height + 1), rng.integers(width - crop_width + 1)
    return int(top), int(left), crop_height, crop_width


def _affine(image: Image.Image, angle: float = 0.0, shear_x: float = 0.0, shear_y: float = 0.0) -> Image.Image:
    return F.affine(image, angle, [0, 0], 1.0, [shear_x, shear_y], BILINEAR, FILL)


def _erase(image: Image.Image, strength: float) -> Image.Image:
    """Without a square of up to a quarter of the area, at a place that follows from the strength."""
    side = round(0.5 * abs(strength) * min(image.size))
    top, left = round(strength * 3.17 % 1 * (image.height - side)), round(strength * 7.31 % 1 * (image.width - side))
    return F.erase(image, top, left, side, side, tensor(FILL)[:, None, None])


# RandAugment's, at a strength in [-1, 1]. Source: Cubuk et al. 2020, arXiv:1909.13719. Left out are those that change
# color: it is varied apart and mildly, since the color of a flower is part of what it is.
DISTORTIONS: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    lambda image, strength: image,
    lambda image, strength: _affine(image, angle=45 * strength),
    lambda image, strength: _affine(image, shear_x=22 * strength),
    lambda image, strength: _affine(image, shear_y=22 * strength),
    lambda image, strength: F.posterize(image, round(8 - 4 * abs(strength))),
    lambda image, strength: F.adjust_sharpness(image, 1 + 0.9 * strength),
    _erase,
)

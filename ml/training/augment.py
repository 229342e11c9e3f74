"""Variation for training: crop, mirror, sharpness, RandAugment, colour. By seed, so that a run can be repeated."""

import io
import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ml.training.rand_augment import rand_augment
from ml.training.recipe import Recipe
from umbel.base.types import Pixels

LUMA = torch.tensor([0.299, 0.587, 0.114])
_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def vary(pixels: Pixels, size: int, recipe: Recipe, rng: np.random.Generator) -> Pixels:
    """One random view of a picture: (height, width, 3) → (size, size, 3) uint8."""
    picture = Image.fromarray(pixels)
    # Sets of pictures differ in sharpness; a network that may see sharpness learns the set instead of the subject.
    if min(picture.size) > recipe.blur_sides[1] * 0.75 and rng.random() < recipe.blur:
        picture = _shrunk(picture, recipe.blur_sides, rng)
    box = _crop_box(*picture.size, recipe.crop_area, rng)
    resample = Image.Resampling.BICUBIC if rng.random() < 0.5 else Image.Resampling.BILINEAR
    cut = picture.resize((size, size), resample, box=box)
    view = np.asarray(rand_augment(cut, recipe.distortions, recipe.magnitude, rng))
    return np.ascontiguousarray(view[:, ::-1]) if rng.random() < 0.5 else view


def _shrunk(picture: Image.Image, sides: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Shrunk to a random shorter side, half the time through a JPEG as a thumbnail would be."""
    low, high = sides
    side = math.exp(rng.uniform(math.log(low), math.log(high)))
    shrink = min(1.0, side / min(picture.size))
    small = picture.resize(
        (max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink))), Image.Resampling.BICUBIC
    )
    if rng.random() < 0.5:
        return small
    coded = io.BytesIO()
    small.save(coded, "JPEG", quality=int(rng.integers(70, 96)))
    return Image.open(coded).convert("RGB")


def _crop_box(
    width: int, height: int, area: tuple[float, float], rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """A random part of the picture, of this share of its area and an aspect between 3:4 and 4:3."""
    aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
    wanted = rng.uniform(*area) * width * height
    crop_width, crop_height = min(math.sqrt(wanted * aspect), width), min(math.sqrt(wanted / aspect), height)
    left, top = rng.uniform(0, width - crop_width), rng.uniform(0, height - crop_height)
    return left, top, min(left + crop_width, width), min(top + crop_height, height)


def recolour(pictures: Tensor, recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """Vary brightness, contrast, saturation and, mildly, hue. (B, 3, H, W) float RGB in [0, 1] → the same.

    All four are linear in the colour, so each picture gets one 3 × 3 matrix and one offset.
    """
    count = len(pictures)
    light, contrast, saturation = (_around_one(recipe.colour, count, rng) for _ in range(3))
    matrix = _hue_matrices(rng.uniform(-recipe.hue, recipe.hue, count) * 2 * math.pi)
    grey = LUMA.expand(3, 3)
    matrix = (saturation[:, None, None] * torch.eye(3) + (1 - saturation)[:, None, None] * grey) @ matrix
    mean = torch.einsum("bchw,c->b", pictures, LUMA) / pictures[0, 0].numel()
    matrix, offset = (light * contrast)[:, None, None] * matrix, light * (1 - contrast) * mean
    flat = pictures.permute(0, 2, 3, 1).reshape(count, -1, 3)
    recoloured = torch.baddbmm(offset[:, None, None], flat, matrix.transpose(1, 2)).clamp_(0, 1)
    return recoloured.view(count, *pictures.shape[2:], 3).permute(0, 3, 1, 2)


def _around_one(spread: float, count: int, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.uniform(1 - spread, 1 + spread, count).astype(np.float32))


def _hue_matrices(angles: NDArray[np.float64]) -> Tensor:
    """(B,) radians → (B, 3, 3): turns the chroma plane of YIQ, leaving brightness."""
    turn = torch.zeros(len(angles), 3, 3)
    cos, sin = torch.from_numpy(np.cos(angles)).float(), torch.from_numpy(np.sin(angles)).float()
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = cos
    turn[:, 1, 2], turn[:, 2, 1] = -sin, sin
    return torch.linalg.inv(_TO_YIQ) @ turn @ _TO_YIQ

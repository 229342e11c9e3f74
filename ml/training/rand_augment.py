"""RandAugment, kept mild: a few random distortions a picture, of the kinds that leave a subject what it is.

Own code where timm has one, because theirs draws from Python's global generator: batches made in threads could then
not be repeated, and a resumed run would not come to the same end.
Source: Cubuk et al. 2020, arXiv:1909.13719. Left out: inverting, solarising and colour operations (colour is varied,
mildly, in ml.training.augment: the colour of a flower is part of what it is).
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter, ImageOps

Operation = Callable[[Image.Image, float], Image.Image]

FILL = (124, 116, 104)  # ImageNet's mean colour, where a distortion leaves the picture


def rand_augment(picture: Image.Image, operations: int, magnitude: float, rng: np.random.Generator) -> Image.Image:
    """Apply this many random operations one after the other, each at a random strength up to `magnitude` in [0, 1]."""
    for choice in rng.integers(len(OPERATIONS), size=operations):
        strength = float(rng.uniform(-magnitude, magnitude))
        picture = OPERATIONS[choice](picture, strength)
    return picture


def _affine(picture: Image.Image, matrix: tuple[float, float, float, float]) -> Image.Image:
    """Map output to input around the centre by the 2 × 2 matrix (a, b, c, d)."""
    a, b, c, d = matrix
    x, y = picture.width / 2, picture.height / 2
    data = (a, b, x - a * x - b * y, c, d, y - c * x - d * y)
    return picture.transform(picture.size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR, fillcolor=FILL)


def _rotate(picture: Image.Image, strength: float) -> Image.Image:
    return picture.rotate(45 * strength, Image.Resampling.BILINEAR, fillcolor=FILL)


def _shear_x(picture: Image.Image, strength: float) -> Image.Image:
    return _affine(picture, (1, 0.4 * strength, 0, 1))


def _shear_y(picture: Image.Image, strength: float) -> Image.Image:
    return _affine(picture, (1, 0, 0.4 * strength, 1))


def _posterise(picture: Image.Image, strength: float) -> Image.Image:
    return ImageOps.posterize(picture, round(8 - 4 * abs(strength)))


def _stretch_contrast(picture: Image.Image, strength: float) -> Image.Image:
    return Image.blend(picture, ImageOps.autocontrast(picture, preserve_tone=True), abs(strength))


def _equalise(picture: Image.Image, strength: float) -> Image.Image:
    """The histogram of brightness alone: channel by channel it would turn the hue."""
    light, blue, red = picture.convert("YCbCr").split()
    equal = Image.merge("YCbCr", (ImageOps.equalize(light), blue, red)).convert("RGB")
    return Image.blend(picture, equal, abs(strength))


def _sharpen(picture: Image.Image, strength: float) -> Image.Image:
    """Sharper, or softer below zero."""
    smooth = picture.filter(ImageFilter.SMOOTH)
    return Image.blend(smooth, picture, 1 + 0.9 * strength)


def _erase(picture: Image.Image, strength: float) -> Image.Image:
    """A grey square of up to a quarter of the area, somewhere that the strength decides."""
    side = round(0.5 * abs(strength) * min(picture.size))
    spread = (strength * 7.31) % 1, (strength * 3.17) % 1  # any place, but the same one for the same strength
    corner = (round(spread[0] * (picture.width - side)), round(spread[1] * (picture.height - side)))
    erased = picture.copy()
    erased.paste(FILL, (*corner, corner[0] + side, corner[1] + side))
    return erased


def _as_is(picture: Image.Image, strength: float) -> Image.Image:
    return picture


OPERATIONS: tuple[Operation, ...] = (
    _as_is,
    _rotate,
    _shear_x,
    _shear_y,
    _posterise,
    _stretch_contrast,
    _equalise,
    _sharpen,
    _erase,
)

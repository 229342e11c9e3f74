"""Single petals as small pictures: outline, relief, colors, veins and a soft shadow around them.

Arithmetic on arrays is float32 and only + − × ÷ √ and comparisons, which every processor rounds alike; powers go
through tables computed in float64. So the same petal has the same bytes everywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from garden.catalog import Marking, Shape
from garden.color import RGB
from garden.easel import Points

Field = NDArray[np.floating[Any]]  # of one number a pixel

# The texture reaches beyond the petal, for its shadow: in petal lengths, and in half widths.
BEFORE, BEYOND, BESIDE = 0.05, 0.10, 1.32
PROFILE = 1024  # entries of the outline's table
SHADOW = 0.40  # opacity of a petal's shadow on what lies below it


@dataclass(frozen=True)
class Paint:
    """What a petal is painted with."""

    throat: RGB
    petal: RGB
    tip: RGB
    marking: RGB
    back: RGB
    strengths: Marking


@dataclass(frozen=True)
class PetalLight:
    """How light falls on each of N petals: arrays (N,)."""

    level: Field  # brightness of the petal as a whole, about 1
    along: Field  # the light's slant towards the tip, [-1, 1]
    across: Field  # the light's slant to the petal's right, [-1, 1]
    back: NDArray[np.bool_]  # we see its outer side


def smooth(low: float, high: float, field: Field) -> Field:
    """0 below `low`, 1 above `high`, and a soft S between."""
    share = np.clip((field - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return share * share * (3 - 2 * share)


def wave(phase: Field) -> Field:
    """A sine of period 1 drawn with parabolas, in [-1, 1]."""
    saw = phase - np.floor(phase) - np.float32(0.5)
    return (np.abs(saw) - np.float32(0.5)) * saw * 16


def petal_images(
    shape: Shape, paint: Paint, light: PetalLight, size: tuple[int, int], rng: np.random.Generator
) -> list[Image.Image]:
    """One RGBA picture per petal of `light`, its base at the left, its tip at the right.

    size: of one picture, (length, width) in pixels, margins included. Each petal gets small waves of its own.
    """
    length, width = size
    count = len(light.level)
    u = np.linspace(-BEFORE, 1 + BEYOND, length, dtype=np.float32)[None, None, :]
    v = np.linspace(-BESIDE, BESIDE, width, dtype=np.float32)[None, :, None]
    quirk = rng.random((4, count, 1, 1), dtype=np.float32)
    v = v - (np.float32(shape.bend) + 0.24 * (quirk[0] - 0.5)) * (u * u)
    reach = _reach(shape, v, quirk)
    along = u / reach
    cover, shadow, half = _outline(shape, along, v, quirk, width)
    total = cover + shadow
    # Straight alpha: where shadow shows beside the petal's rim, its black is part of the color.
    light_here = (
        _relief(shape, light, along=along, v=v, half=half, quirk=quirk) * cover / np.maximum(total, np.float32(1e-3))
    )
    pixels = np.empty((*total.shape, 4), np.uint8)
    for band, plane in enumerate(_painted(paint, along=along, v=v, half=half, back=light.back, rng=rng)):
        pixels[..., band] = np.minimum(plane * light_here, 255)
    pixels[..., 3] = total * 255
    return [Image.fromarray(petal) for petal in pixels]


def paste_petal(canvas: Image.Image, image: Image.Image, origin: Points, along: Points, across: Points) -> None:
    """Paint a petal's picture, its base at `origin`; along, across: its length and half width, in pixels."""
    turn = along[0] * across[1] - along[1] * across[0]
    if abs(turn) < 0.02 * float((along * along + across * across).sum()):
        # Seen edge-on, a petal still has its thickness: widen it a little, at right angles to its length.
        across = across + (0.06 if turn >= 0 else -0.06) * np.array([-along[1], along[0]])
        turn = along[0] * across[1] - along[1] * across[0]
    if abs(turn) < 1:
        return
    corners = np.array([origin + a * along + b * across for a in (-BEFORE, 1 + BEYOND) for b in (-BESIDE, BESIDE)])
    left, top = (max(floor(low), 0) for low in corners.min(axis=0))
    right = min(ceil(corners[:, 0].max()), canvas.width)
    bottom = min(ceil(corners[:, 1].max()), canvas.height)
    if right <= left or bottom <= top:
        return
    # The inverse map: from a pixel of the picture to (along, across), then to a pixel of the texture.
    per_along = image.width / (1 + BEFORE + BEYOND)
    per_across = image.height / (2 * BESIDE)
    ua, ub = across[1] / turn * per_along, -across[0] / turn * per_along
    va, vb = -along[1] / turn * per_across, along[0] / turn * per_across
    x, y = left - origin[0], top - origin[1]
    data = (ua, ub, ua * x + ub * y + BEFORE * per_along, va, vb, va * x + vb * y + BESIDE * per_across)
    size = (right - left, bottom - top)
    # Nearest is enough, and ten times faster: the rim is soft already and the picture is reduced or blurred after.
    turned = image.transform(size, Image.Transform.AFFINE, data, Image.Resampling.NEAREST)
    canvas.alpha_composite(turned, (left, top))


def _reach(shape: Shape, v: Field, quirk: Field) -> Field:
    """How far the petal reaches at each place across: shorter in a notch, uneven with teeth or ruffles."""
    reach = np.ones_like(v)
    if shape.notch:
        dent = np.clip(1 - np.abs(v) * np.float32(1 / 0.5), 0, 1)
        reach = reach - np.float32(shape.notch) * dent * (2 - dent)
    if shape.teeth:
        saw = v * np.float32(shape.teeth / 2) + np.float32(0.5) + 0.1 * quirk[1]
        reach = reach - np.abs(saw - np.floor(saw) - np.float32(0.5)) * np.float32(0.3 if shape.teeth < 8 else 0.2)
    if shape.ruffle:
        ripple = wave(v * np.float32(1.7) + quirk[1]) + 0.5 * wave(v * np.float32(3.1) + quirk[2])
        reach = reach - np.float32(0.035 * shape.ruffle) * (1 + ripple)
    return reach


def _outline(shape: Shape, along: Field, v: Field, quirk: Field, width: int) -> tuple[Field, Field, Field]:
    """Cover and shadow in [0, 1], and the half width at each place along, relative to the petal's greatest."""
    half_table, slant_table = _profile(shape)
    place = np.clip(along * PROFILE, 0, PROFILE - 1).astype(np.int32)
    half = half_table[place]
    if shape.ruffle:
        half = half * (1 + np.float32(0.05 * shape.ruffle) * wave(along * 3 + quirk[2] + np.float32(0.5) * (v > 0)))
    pixels = np.float32(width / (2 * BESIDE))
    inside = (half - np.abs(v)) * pixels * slant_table[place]
    ends = np.minimum(along * 40, (1 - along) * pixels * np.float32(1.5))
    inside = np.minimum(inside, ends)
    cover = np.clip(inside + np.float32(0.5), 0, 1)
    # The shadow fades with the distance beyond the rim, and to nothing before the texture ends.
    halo = np.clip(1 - np.clip(np.abs(v) - half, 0, None) * np.float32(1 / 0.30), 0, 1)
    halo = halo * np.clip(1 + (1 - along) * 11, 0, 1) * np.clip(1 + along * 20, 0, 1)
    return cover, (1 - cover) * halo * halo * np.float32(SHADOW), half


def _profile(shape: Shape) -> tuple[Field, Field]:
    """Tables along a petal: its half width (greatest 1), and the cosine of its rim's slant."""
    place = (np.arange(PROFILE) + 0.5) / PROFILE
    half = place**shape.taper * (1 - place) ** shape.tip
    half /= half.max()
    slope = np.gradient(half, 1 / PROFILE) * 0.4
    return half.astype(np.float32), (1 / np.sqrt(1 + slope**2)).astype(np.float32)


def _painted(
    paint: Paint, *, along: Field, v: Field, half: Field, back: NDArray[np.bool_], rng: np.random.Generator
) -> Iterator[Field]:
    """Red, green, blue of every place of every petal, each (N, width, length), before light falls on it."""
    mark = _marks(paint.strengths, along, v, half, rng)
    # Markings shine through the back of a petal only faintly.
    mark *= 1 - np.float32(0.85) * back[:, None, None]
    outer = np.float32(0.72) * back[:, None, None]
    place = np.clip(along * 255, 0, 255).astype(np.uint8)
    table = _gradient(paint)
    for band in range(3):
        plane = table[band][place]
        plane += mark * (np.float32(paint.marking[band]) - plane)
        if back.any():
            plane += outer * (np.float32(paint.back[band]) - plane)
        yield plane


def _marks(marks: Marking, along: Field, v: Field, half: Field, rng: np.random.Generator) -> Field:
    """How much of the marking's color covers every place, in [0, 1]."""
    across = np.abs(v) / np.maximum(half, np.float32(0.08))
    mark = np.zeros_like(along)
    if marks.veins:
        mark = np.float32(0.42 * marks.veins) * _veins(along, v, half)
    if marks.feather:
        mark = np.maximum(mark, np.float32(marks.feather) * _feather(along, across))
    if marks.stripe:
        stripe = (1 - smooth(0.10, 0.34, across)) * (1 - smooth(0.62, 0.95, along))
        mark = np.maximum(mark, np.float32(0.8 * marks.stripe) * stripe)
    if marks.edge:
        rim = np.maximum(smooth(0.62, 0.95, across), smooth(0.86, 0.98, along))
        mark = np.maximum(mark, np.float32(0.9 * marks.edge) * rim)
    if marks.blotch:
        spot = (1 - smooth(0.26, 0.44, along + np.float32(0.10) * across)) * smooth(0.02, 0.12, along)
        mark = np.maximum(mark, np.float32(0.92 * marks.blotch) * spot)
    if marks.speckles:
        mark = np.maximum(mark, np.float32(0.85 * marks.speckles) * _speckles(along, rng))
    return mark


def _gradient(paint: Paint) -> Field:
    """Table (3, 256) of the color from the throat to the tip."""
    place = np.linspace(0, 1, 256, dtype=np.float32)
    reach = max(paint.strengths.throat, 0.02)
    throat, petal, tip = (np.array(part, np.float32)[:, None] for part in (paint.throat, paint.petal, paint.tip))
    color = throat + (petal - throat) * smooth(0.35 * reach, 1.5 * reach, place)
    return color + (tip - color) * smooth(0.35, 1.0, place)


def _veins(along: Field, v: Field, half: Field) -> Field:
    """Veins that fan out from the base, in [0, 1], fading towards the tip."""
    fan = v / (np.float32(0.25) + np.float32(0.75) * half)
    fine = wave(fan * np.float32(4.5) + 0.25)
    return smooth(0.45, 1.0, fine) * (1 - smooth(0.35, 1.0, along)) * smooth(0.0, 0.12, along)


def _feather(along: Field, across: Field) -> Field:
    """The veins of a leaf, in [0, 1]: slanting from the midrib to the rim."""
    side = smooth(0.55, 1.0, wave(along * 8 - across * np.float32(1.3)))
    rib = 1 - smooth(0.02, 0.12, across)
    return np.maximum(np.float32(0.5) * side * (1 - smooth(0.6, 1.0, across)), rib) * (1 - smooth(0.75, 1.0, along))


def _speckles(along: Field, rng: np.random.Generator) -> Field:
    """Freckles over the lower half of the petal, in [0, 1]; each petal has its own."""
    freckles = Image.fromarray(rng.integers(0, 256, (14, 22), dtype=np.uint8))
    grain = np.asarray(freckles.resize(along.shape[:0:-1], Image.Resampling.BICUBIC), np.float32)
    return smooth(172, 205, grain)[None] * (1 - smooth(0.45, 0.72, along)) * smooth(0.05, 0.2, along)


def _relief(shape: Shape, light: PetalLight, *, along: Field, v: Field, half: Field, quirk: Field) -> Field:
    """Brightness of every place: the petal is a curved, slightly wavy sheet, darker deep in the flower."""
    slant_along, slant_across = light.along[:, None, None], light.across[:, None, None]
    fan = v / (np.float32(0.3) + np.float32(0.7) * half)
    ribs = wave(fan * np.float32(3.2) + quirk[3]) * np.float32(0.035) * smooth(0.05, 0.4, along)
    groove = np.clip(1 - np.abs(v) * 9, 0, 1) * (1 - smooth(0.55, 0.95, along))
    across = np.float32(1.1 * shape.fold) * v + np.float32(0.12 * shape.ruffle) * wave(along * 2.4 + fan + quirk[2])
    lengthwise = np.float32(shape.curl) * (2 * along - 1)
    level = light.level[:, None, None] * (np.float32(0.60) + np.float32(0.40) * smooth(-0.02, 0.5, along))
    rim = smooth(0.80, 1.0, np.abs(v) / np.maximum(half, np.float32(0.08))) * np.float32(0.07)
    return level * (1 + slant_across * across + slant_along * lengthwise + ribs + rim - np.float32(0.10) * groove)

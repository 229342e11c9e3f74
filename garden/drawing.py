"""Putting petals, lines and dots on the picture, in the light of one sun."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from garden.color import RGB, whole
from garden.forms import Shape
from garden.petals import BEFORE, BESIDE, BEYOND, Paint, PetalLight, petal_images
from garden.view import Points, Pose, polar

# Up to this many petals each have a drawing of their own; more share those of their sector and whorls.
OWN_DRAWINGS = 12
SECTORS = 6
# Texture pixels to one pixel of the (supersampled) picture.
DETAIL = 0.70


@dataclass(frozen=True)
class Petals:
    """N petals of one flower, arrays (N,): angles in radians, lengths in radii of the flower."""

    azimuth: Points
    elevation: Points
    length: Points
    half_width: Points
    base: Points  # distance of the petal's base from the axis
    whorl: NDArray[np.int64]  # 0 is the outermost
    depth: Points  # brightness: deep inside the flower is darker


@dataclass(frozen=True)
class Sun:
    """Where the light comes from, as a unit vector (right, down, towards us)."""

    direction: tuple[float, float, float]

    def on(self, normals: Points) -> Points:
        """Brightness of surfaces with these unit normals (…, 3), about [0.56, 1.1]: light wraps softly round edges."""
        return 0.70 + 0.40 * np.clip(self.slant(normals), -0.35, 1)

    def slant(self, directions: Points) -> Points:
        """How far the light goes along each direction (…, 3), in [-1, 1]."""
        right, down, near = self.direction
        return directions[..., 0] * right + directions[..., 1] * down + directions[..., 2] * near


@dataclass(frozen=True)
class Easel:
    """A picture (RGBA) being painted, the light on it, and the chance that makes every specimen its own."""

    image: Image.Image
    sun: Sun
    rng: np.random.Generator

    @cached_property
    def draw(self) -> ImageDraw.ImageDraw:
        """For lines, dots and patches straight onto the picture."""
        return ImageDraw.Draw(self.image)

    def jitter(self, count: int, size: float) -> Points:
        """`count` small deviations, even in [-size, size]."""
        return size * (2 * self.rng.random(count) - 1)

    def patch(self, outline: Points, color: RGB) -> None:
        """Fill the polygon through points (N, ≥2), in pixels."""
        self.draw.polygon([(x, y) for x, y in outline[:, :2].tolist()], fill=(*whole(color), 255))

    def dot(self, x: float, y: float, radius: float, color: RGB, *, flat: float = 1.0) -> None:
        """A small ellipse, `flat` times as high as wide."""
        self.draw.ellipse((x - radius, y - radius * flat, x + radius, y + radius * flat), fill=(*whole(color), 255))

    def stroke(self, line: Points, width: float, color: RGB) -> None:
        """A line through points (N, ≥2) in pixels, its joints rounded."""
        path = [(x, y) for x, y in line[:, :2].tolist()]
        self.draw.line(path, fill=(*whole(color), 255), width=max(round(width), 1), joint="curve")


class PetalPainter:
    """The petals of one flower, drawn but not yet on the picture."""

    def __init__(self, easel: Easel, petals: Petals, shape: Shape, *, paint: Paint, pose: Pose) -> None:
        self.easel, self.petals, self.pose = easel, petals, pose
        sun = easel.sun
        flat, rise = np.cos(petals.elevation), np.sin(petals.elevation)
        east, north = np.cos(petals.azimuth), np.sin(petals.azimuth)
        along = np.stack([east * flat, north * flat, rise], axis=-1)
        across = np.stack([-north, east, np.zeros_like(east)], axis=-1)
        normal = pose.turned(np.cross(along, across))
        self.along, self.across = pose.turned(along), pose.turned(across)
        self.origin = pose.placed(polar(petals.azimuth, petals.base))
        self.behind = normal[:, 2] < 0.02
        facing = np.where(self.behind[:, None], -normal, normal)
        light = PetalLight(
            level=(sun.on(facing) * petals.depth).astype(np.float32),
            along=sun.slant(self.along).astype(np.float32),
            across=sun.slant(self.across).astype(np.float32),
            back=self.behind,
        )
        self.drawing, chosen = _shared_drawings(petals, self.behind)
        light = PetalLight(light.level[chosen], light.along[chosen], light.across[chosen], light.back[chosen])
        size = _texture_size(petals, pose.radius)
        self.images = petal_images(shape, paint, light, size, easel.rng)

    def paint(self, *, behind: bool) -> None:
        """Paint the petals that turn their back to us (`behind`), or those that face us, farthest first."""
        nearness = self.origin[:, 2] + self.along[:, 2] * self.petals.length * self.pose.radius
        whorl = -self.petals.whorl if behind else self.petals.whorl
        for index in np.lexsort((nearness, whorl)):
            if self.behind[index] == behind:
                self._paste(int(index))

    def _paste(self, index: int) -> None:
        radius = self.pose.radius
        along = self.along[index, :2] * self.petals.length[index] * radius
        across = self.across[index, :2] * self.petals.half_width[index] * radius
        paste_petal(self.easel.image, self.images[self.drawing[index]], self.origin[index, :2], along, across)


def _shared_drawings(petals: Petals, behind: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each petal the number of its drawing; for each drawing a petal that it is drawn for."""
    count = len(petals.azimuth)
    if count <= OWN_DRAWINGS:
        return np.arange(count), np.arange(count)
    sector = np.floor((petals.azimuth / (2 * np.pi)) % 1.0 * SECTORS).astype(np.int64)
    key = (petals.whorl // 2 * SECTORS + sector) * 2 + behind
    _, first, drawing = np.unique(key, return_index=True, return_inverse=True)
    return drawing, first


def _texture_size(petals: Petals, radius: float) -> tuple[int, int]:
    scale = radius * DETAIL
    length = float(petals.length.max()) * scale * (1 + BEFORE + BEYOND)
    width = float(petals.half_width.max()) * scale * 2 * BESIDE
    return max(round(length), 8), max(round(width), 8)


def paste_petal(canvas: Image.Image, image: Image.Image, origin: Points, along: Points, across: Points) -> None:
    """Paint a petal's picture, its base at `origin`; along, across: its length and half width, in pixels."""
    turn = along[0] * across[1] - along[1] * across[0]
    if abs(turn) < 0.02 * float((along * along + across * across).sum()):
        across, turn = _opened(along, across, turn)
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


def _opened(along: Points, across: Points, turn: float) -> tuple[Points, float]:
    """A petal seen edge-on still has its thickness: widen it a little, at right angles to its length."""
    sign = 1.0 if turn >= 0 else -1.0
    across = across + sign * 0.06 * np.array([-along[1], along[0]])
    return across, float(along[0] * across[1] - along[1] * across[0])

"""A picture being painted: where a flower stands on it, the light of one sun, and lines, dots and patches."""

from dataclasses import dataclass
from functools import cached_property
from math import cos, pi, radians, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from garden.color import RGB, whole

Points = NDArray[np.floating[Any]]

# Leaves or seeds each turned by this from the one before leave all of them room.
GOLDEN_ANGLE = pi * (3 - 5**0.5)


@dataclass(frozen=True)
class Pose:
    """A flower in front of us: center and radius in pixels; tilt of its axis away from us and direction it leans to.

    tilt: degrees, 0 looks straight into the flower, 90 sees it from the side. lean: degrees clockwise from "up".
    spin: degrees about its own axis.
    """

    x: float
    y: float
    radius: float
    tilt: float
    lean: float
    spin: float

    @cached_property
    def axes(self) -> Points:
        """Rows: the flower's x, y, z axes as (right, down, towards us), unit length."""
        tilt, lean, spin = radians(self.tilt), radians(self.lean), radians(self.spin)
        rows = []
        for x, y, z in ((cos(spin), sin(spin), 0.0), (-sin(spin), cos(spin), 0.0), (0.0, 0.0, 1.0)):
            down, near = y * cos(tilt) - z * sin(tilt), y * sin(tilt) + z * cos(tilt)
            rows.append((x * cos(lean) - down * sin(lean), x * sin(lean) + down * cos(lean), near))
        return np.array(rows)

    def turned(self, vectors: Points) -> Points:
        """Directions (…, 3) of the flower as directions (right, down, towards us)."""
        x, y, z = vectors[..., 0:1], vectors[..., 1:2], vectors[..., 2:3]
        return x * self.axes[0] + y * self.axes[1] + z * self.axes[2]

    def placed(self, points: Points) -> Points:
        """Points (…, 3) in radii of the flower as (x, y, nearness) in pixels."""
        return self.turned(points) * self.radius + np.array([self.x, self.y, 0.0])


def polar(angle: Points, radius: Points | float, height: Points | float = 0.0) -> Points:
    """Points (N, 3) at angles (radians) about the flower's axis."""
    return np.stack(np.broadcast_arrays(np.cos(angle) * radius, np.sin(angle) * radius, height), axis=-1)


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
    """The picture (RGBA), the light on it, and the random numbers that make every specimen its own."""

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

"""Where parts of a flower stand on the picture: its own three dimensions, seen from straight above the paper."""

from dataclasses import dataclass
from functools import cached_property
from math import cos, pi, radians, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating[Any]]

# Each leaf or seed turned by this from the one before leaves every one its room.
GOLDEN_ANGLE = pi * (3 - 5**0.5)


@dataclass(frozen=True)
class Pose:
    """A flower in front of us: centre and radius in pixels; tilt of its axis away from us and direction it leans to.

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

    def at(self, x: float, y: float, radius: float, *, tilt: float | None = None, lean: float | None = None) -> "Pose":
        """The same flower elsewhere, in another size or turned otherwise."""
        return Pose(x, y, radius, self.tilt if tilt is None else tilt, self.lean if lean is None else lean, self.spin)


def polar(angle: Points, radius: Points | float, height: Points | float = 0.0) -> Points:
    """Points (N, 3) at angles (radians) about the flower's axis."""
    return np.stack(np.broadcast_arrays(np.cos(angle) * radius, np.sin(angle) * radius, height), axis=-1)

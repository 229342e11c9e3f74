"""Surfaces turned about an axis: bells and trumpets."""

from dataclasses import dataclass
from math import cos, pi, radians, sin

import numpy as np

from garden.color import RGB, mix, scaled
from garden.drawing import Easel
from garden.greenery import paint_leaf
from garden.species import Species
from garden.view import Points, Pose, polar


@dataclass(frozen=True)
class Solid:
    """A surface round the flower's axis, from its base to its rim.

    rings: (R, S, 3) points in radii of the flower, S around. outside, inside: R colours. ribs: (S,) brightness
    around, about 1.
    """

    rings: Points
    outside: list[RGB]
    inside: list[RGB]
    ribs: Points


def turned_solid(easel: Easel, pose: Pose, solid: Solid) -> None:
    """Paint a solid, farthest facets first; we see the inside of those that turn away from us."""
    points = pose.placed(solid.rings)
    following = np.roll(points, -1, axis=1)
    corners = np.stack([points[:-1], following[:-1], following[1:], points[1:]], axis=2)  # (R-1, S, 4, 3)
    normal = np.cross(corners[:, :, 2] - corners[:, :, 0], corners[:, :, 3] - corners[:, :, 1])
    normal /= np.maximum(np.sqrt((normal**2).sum(axis=-1, keepdims=True)), 1e-9)
    hidden = normal[..., 2] < 0
    light = easel.sun.on(np.where(hidden[..., None], -normal, normal)) * solid.ribs
    nearness = corners[..., 2].mean(axis=2)
    for place in np.argsort(nearness, axis=None):
        ring, around = divmod(int(place), points.shape[1])
        tones = solid.inside if hidden[ring, around] else solid.outside
        color = scaled(mix(tones[ring], tones[ring + 1], 0.5), float(light[ring, around]))
        easel.patch(corners[ring, around], color)


def paint_bells(easel: Easel, species: Species, pose: Pose) -> None:
    """Bells hanging from an arching stem, the youngest smallest and nearest its tip."""
    count, side = 5 + int(easel.rng.integers(3)), 1 if easel.rng.random() < 0.5 else -1
    arch = _arch(easel, pose, side)
    for turn in (-1, 1, 0.3):
        angle = -90 + turn * (22 + 26 * easel.rng.random())
        green = scaled(species.leaf, 0.9)
        paint_leaf(easel, species.body.leaf, green, root=arch[3], angle=angle, length=1.3 * pose.radius)
    easel.stroke(arch, 0.060 * pose.radius, scaled(species.leaf, 0.7))
    easel.stroke(arch - 0.013 * pose.radius, 0.026 * pose.radius, scaled(species.leaf, 1.15))
    hung = _evenly(arch[14:], count)
    for number in range(count):
        place = number / (count - 1)
        size = pose.radius * (0.37 - 0.15 * place) * (0.94 + 0.12 * easel.rng.random())
        swing = side * (26 - 40 * (number % 2)) * (1 - 0.4 * place) + 10 * (easel.rng.random() - 0.5)
        stalk = hung[number]
        hang = stalk + np.array([sin(radians(swing)), cos(radians(swing))]) * size * 0.55
        bow = stalk + (hang - stalk) * 0.4 - np.array([0.0, 0.08 * size])
        easel.stroke(np.stack([stalk, bow, hang]), 0.03 * pose.radius, scaled(species.leaf, 0.8))
        bell = Pose(
            float(hang[0]), float(hang[1]), size, 60 + 20 * easel.rng.random(), 180 - swing, 360 * easel.rng.random()
        )
        _bell(easel, species, bell)


def _arch(easel: Easel, pose: Pose, side: int) -> Points:
    """The stem of a bellflower (40, 2): up from the ground, over to one side (-1 left, 1 right) and down again."""
    foot = np.array([pose.x + (0.4 * easel.rng.random() - 0.55 * side) * pose.radius, 1.06 * easel.image.height])
    rise = np.array([pose.x - 0.75 * side * pose.radius, pose.y - 0.9 * pose.radius])
    top = np.array([pose.x + 0.1 * side * pose.radius, pose.y - 1.6 * pose.radius])
    end = np.array([pose.x + 0.95 * side * pose.radius, pose.y + 0.05 * pose.radius])
    share = np.linspace(0, 1, 40)[:, None]
    rest = 1 - share
    return foot * rest**3 + rise * 3 * share * rest**2 + top * 3 * share**2 * rest + end * share**3


def _evenly(line: Points, count: int) -> Points:
    """`count` points (count, 2) along a line (N, 2), at equal distances."""
    step = np.sqrt((np.diff(line, axis=0) ** 2).sum(axis=1))
    walked = np.concatenate([[0.0], np.cumsum(step)])
    wanted = np.linspace(0, walked[-1], count)
    return np.stack([np.interp(wanted, walked, line[:, 0]), np.interp(wanted, walked, line[:, 1])], axis=-1)


def _bell(easel: Easel, species: Species, pose: Pose) -> None:
    lips = species.body.petals
    around = 10 * lips
    angle = np.linspace(0, 2 * pi, around, endpoint=False)
    lobe = np.abs(np.cos(angle * lips / 2))
    slim = 0.42 + 0.20 * species.body.depth
    rings = []
    for up in np.linspace(0, 1, 9):
        width = slim * (0.30 + 1.15 * min(up * 2.2, 1.0) ** 0.6 * (1 - 0.22 * up) + 0.42 * up**5)
        width = width * (1 + 0.07 * lobe * up + 0.30 * lobe * up**9)
        rings.append(polar(angle, width, 1.55 * up - 0.34 * (1 - lobe) * up**4))
    colors = species.palette
    top, petal = mix(colors.petal, species.leaf, 0.35), colors.petal
    outside = [mix(top, petal, min(up * 2.5, 1)) for up in np.linspace(0, 0.7, 6)]
    outside += [petal, mix(petal, colors.tip, 0.6), colors.tip]
    inside = [scaled(mix(colors.throat, petal, 0.5), 0.55 + 0.42 * up) for up in np.linspace(0, 1, 9)]
    ribs = 1 - 0.16 * np.abs(np.cos(angle * lips / 2)) ** 8 - 0.10 * np.abs(np.sin(angle * lips / 2)) ** 12
    turned_solid(easel, pose, Solid(np.stack(rings), outside, inside, ribs))
    crown = pose.placed(np.zeros(3))
    easel.dot(float(crown[0]), float(crown[1]), 0.20 * pose.radius, scaled(species.leaf, 0.8))

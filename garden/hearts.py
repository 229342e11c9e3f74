"""The middles of flowers: discs, stamens, columns, trumpets, fringes and eyes."""

from math import cos, pi, radians

import numpy as np

from garden.color import RGB, mix, scaled
from garden.drawing import Easel
from garden.forms import Heart
from garden.solids import Solid, turned_solid
from garden.species import Species
from garden.view import GOLDEN_ANGLE, Points, Pose, polar


def paint_heart(easel: Easel, species: Species, pose: Pose) -> None:
    """Paint the middle of a flower over its petals."""
    painters = {
        Heart.DISC: _disc,
        Heart.STAMENS: _stamens,
        Heart.COLUMN: _column,
        Heart.TRUMPET: _trumpet,
        Heart.FILAMENTS: _filaments,
        Heart.EYE: _eye,
    }
    painter = painters.get(species.body.form.hearts)
    if painter:
        painter(easel, species, pose)


def golden_spiral(count: int) -> tuple[Points, Points]:
    """Angles and radii (0, 1] of `count` points at the golden angle, evenly dense, as seeds in a sunflower.

    Source: Vogel 1979, "A better way to construct the sunflower head".
    """
    number = np.arange(count) + 0.5
    return number * GOLDEN_ANGLE, np.sqrt(number / count)


def _disc(easel: Easel, species: Species, pose: Pose) -> None:
    size = species.body.disc
    count = int(90 + 260 * size)
    angle, radius = golden_spiral(count)
    height = 0.30 * size * (1 - radius**2) + 0.03
    points = pose.placed(polar(angle, radius * size, height))
    ground = pose.placed(polar(np.linspace(0, 2 * pi, 24), size * 1.06, 0.02))
    dark, flat = scaled(species.anther, 0.42), max(cos(radians(pose.tilt)), 0.35)
    easel.patch(ground, dark)
    middle = mix(species.anther, (92, 120, 40) if easel.rng.random() < 0.5 else (60, 34, 20), 0.55)
    grain = size * pose.radius / np.sqrt(count) * 0.92
    for index in np.argsort(points[:, 2]):
        share = float(radius[index])
        color = mix(middle, species.anther, min(share * 1.25, 1.0))
        x, y = float(points[index, 0]), float(points[index, 1])
        light = 0.80 + 0.28 * float(easel.rng.random()) - 0.12 * (share < 0.35)
        easel.dot(x + 0.25 * grain, y + 0.35 * grain, grain, scaled(color, 0.55), flat=flat)
        easel.dot(x, y, grain * 0.8, scaled(color, light), flat=flat)


def _stamens(easel: Easel, species: Species, pose: Pose) -> None:
    size = species.body.disc
    many = size > 0.075
    count = 26 if many else 6
    reach = 2.1 * size if many else 0.50
    angle = np.arange(count) * (GOLDEN_ANGLE if many else 2 * pi / count) + 0.2 * easel.rng.random(count)
    spread = reach * (0.45 + 0.55 * easel.rng.random(count)) if many else reach * (0.75 + 0.2 * easel.rng.random(count))
    height = 0.9 * reach * (1.15 - spread / reach * 0.6)
    roots, tips = pose.placed(polar(angle, 0.15 * spread, 0.02)), pose.placed(polar(angle, spread, height))
    pale = mix(species.palette.throat, (236, 240, 205), 0.55)
    for index in np.argsort(tips[:, 2]):
        easel.stroke(np.stack([roots[index], tips[index]]), 0.016 * pose.radius, scaled(pale, 0.9))
        _anther(easel, tips[index], 0.030 * pose.radius, species.anther)
    style = pose.placed(polar(np.zeros(2), 0.0, np.array([0.0, 1.25 * reach])))
    easel.stroke(style, 0.026 * pose.radius, scaled(pale, 0.85))
    _anther(easel, style[1], 0.034 * pose.radius, (176, 196, 92))


def _anther(easel: Easel, at: Points, radius: float, color: RGB) -> None:
    x, y = float(at[0]), float(at[1])
    easel.dot(x + 0.3 * radius, y + 0.4 * radius, radius, scaled(color, 0.5))
    easel.dot(x, y, radius, color)
    easel.dot(x - 0.3 * radius, y - 0.3 * radius, 0.4 * radius, mix(color, (255, 255, 255), 0.35))


def _column(easel: Easel, species: Species, pose: Pose) -> None:
    height = 0.62
    axis = pose.placed(polar(np.zeros(2), 0.0, np.array([0.0, height])))
    easel.stroke(axis, 0.075 * pose.radius, scaled(species.palette.throat, 0.8))
    easel.stroke(axis - 0.012 * pose.radius, 0.035 * pose.radius, mix(species.palette.throat, (255, 255, 240), 0.5))
    count = 34
    angle = np.arange(count) * GOLDEN_ANGLE
    up = 0.30 + 0.70 * (np.arange(count) + 0.5) / count
    tips = pose.placed(polar(angle, 0.085 + 0.02 * easel.rng.random(count), up * height))
    for index in np.argsort(tips[:, 2]):
        _anther(easel, tips[index], 0.024 * pose.radius, species.anther)


def _trumpet(easel: Easel, species: Species, pose: Pose) -> None:
    size, around = species.body.disc, 44
    depth = (0.25 + 0.9 * species.body.depth) * size * 1.6
    angle = np.linspace(0, 2 * pi, around, endpoint=False)
    ruffle = np.cos(angle * 9 + 6 * easel.rng.random()) * np.cos(angle * 4)
    rings = []
    for up in (0.0, 0.3, 0.6, 0.85, 1.0):
        flare = size * (0.62 + 0.22 * up + 0.22 * up**6)
        rings.append(polar(angle, flare * (1 + 0.07 * ruffle * up**3), depth * (up + 0.06 * ruffle * up**3) + 0.02))
    throat = species.palette.throat
    color = throat if min(throat[:2]) > 120 else mix(species.palette.tip, (255, 214, 90), 0.75)
    rim = mix(color, species.palette.marking, 0.25)
    outside = [scaled(color, 0.80), color, color, mix(color, rim, 0.5), rim]
    inside = [scaled(color, 0.50), scaled(color, 0.68), scaled(color, 0.86), color, mix(rim, (255, 255, 255), 0.2)]
    floor = pose.placed(polar(angle, size * 0.62, 0.02))
    deep = scaled(mix(color, (110, 130, 40), 0.4), 0.45)
    easel.patch(floor, deep)
    turned_solid(easel, pose, Solid(np.stack(rings), outside, inside, np.ones(around)))
    for turn in np.arange(6) * pi / 3:
        tip = pose.placed(polar(np.array([turn]), 0.10 * size, 0.55 * depth))[0]
        _anther(easel, tip, 0.10 * size * pose.radius, mix(species.anther, (250, 220, 120), 0.4))


def _filaments(easel: Easel, species: Species, pose: Pose) -> None:
    count, reach = 64, 0.62
    angle = np.arange(count) * 2 * pi / count + 0.03 * easel.rng.random(count)
    bands = ((0.14, 0.28, species.palette.throat), (0.28, 0.42, (246, 244, 238)), (0.42, 1.0, species.palette.marking))
    length = reach * (0.9 + 0.15 * easel.rng.random(count))
    for start, end, color in bands:
        here = pose.placed(polar(angle, start * length, 0.05))
        there = pose.placed(polar(angle, end * length, 0.05 + 0.10 * end))
        for one, other in zip(here, there, strict=True):
            easel.stroke(
                np.stack([one, other]), 0.017 * pose.radius, scaled(color, 0.85 + 0.25 * float(easel.rng.random()))
            )
    _eye(easel, species, pose)
    for turn in np.arange(5) * 2 * pi / 5:
        tip = pose.placed(polar(np.array([turn]), 0.17, 0.22))[0]
        easel.stroke(np.stack([pose.placed(np.array([0.0, 0.0, 0.1])), tip]), 0.035 * pose.radius, (176, 196, 92))
        _anther(easel, tip, 0.052 * pose.radius, species.anther)


def _eye(easel: Easel, species: Species, pose: Pose) -> None:
    size = species.body.disc
    angle = np.linspace(0, 2 * pi, 28, endpoint=False)
    for radius, color in (
        (1.0, scaled(species.anther, 0.72)), (0.86, species.anther), (0.5, scaled(species.palette.marking, 0.55)),
        (0.36, (40, 48, 20)),
    ):  # fmt: skip
        ring = pose.placed(polar(angle, radius * size, 0.03))
        easel.patch(ring, color)

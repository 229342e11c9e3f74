"""The centers of flowers: discs, stamens, fringes and eyes."""

from math import cos, pi, radians

import numpy as np

from garden.catalog import Center
from garden.color import RGB, mix, scaled
from garden.easel import GOLDEN_ANGLE, Easel, Points, Pose, polar
from garden.species import Species

STYLE: RGB = (176, 196, 92)


def paint_center(easel: Easel, species: Species, pose: Pose) -> None:
    """Paint the center of a flower over its petals."""
    painters = {Center.DISC: _disc, Center.STAMENS: _stamens, Center.FILAMENTS: _filaments, Center.EYE: _eye}
    if painter := painters.get(species.body.form.center):
        painter(easel, species, pose)


def _disc(easel: Easel, species: Species, pose: Pose) -> None:
    """Florets at the golden angle, evenly dense (Vogel 1979, "A better way to construct the sunflower head")."""
    size = species.body.disc
    count = int(90 + 260 * size)
    number = np.arange(count) + 0.5
    angle, radius = number * GOLDEN_ANGLE, np.sqrt(number / count)
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
    """A brush of stamens, or six long ones where the center is small; one style among them."""
    size = species.body.disc
    if size > 0.075:
        count, reach = 26, 2.1 * size
        angle = np.arange(count) * GOLDEN_ANGLE + 0.2 * easel.rng.random(count)
        spread = reach * (0.45 + 0.55 * easel.rng.random(count))
    else:
        count, reach = 6, 0.50
        angle = np.arange(count) * (2 * pi / count) + 0.2 * easel.rng.random(count)
        spread = reach * (0.75 + 0.2 * easel.rng.random(count))
    height = 0.9 * reach * (1.15 - spread / reach * 0.6)
    roots, tips = pose.placed(polar(angle, 0.15 * spread, 0.02)), pose.placed(polar(angle, spread, height))
    pale = mix(species.palette.throat, (236, 240, 205), 0.55)
    for index in np.argsort(tips[:, 2]):
        easel.stroke(np.stack([roots[index], tips[index]]), 0.016 * pose.radius, scaled(pale, 0.9))
        _anther(easel, tips[index], 0.030 * pose.radius, species.anther)
    style = pose.placed(polar(np.zeros(2), 0.0, np.array([0.0, 1.25 * reach])))
    easel.stroke(style, 0.026 * pose.radius, scaled(pale, 0.85))
    _anther(easel, style[1], 0.034 * pose.radius, STYLE)


def _anther(easel: Easel, at: Points, radius: float, color: RGB) -> None:
    x, y = float(at[0]), float(at[1])
    easel.dot(x + 0.3 * radius, y + 0.4 * radius, radius, scaled(color, 0.5))
    easel.dot(x, y, radius, color)
    easel.dot(x - 0.3 * radius, y - 0.3 * radius, 0.4 * radius, mix(color, (255, 255, 255), 0.35))


def _filaments(easel: Easel, species: Species, pose: Pose) -> None:
    count, reach = 64, 0.62
    angle = np.arange(count) * 2 * pi / count + 0.03 * easel.rng.random(count)
    bands = ((0.14, 0.28, species.palette.throat), (0.28, 0.42, (246, 244, 238)), (0.42, 1.0, species.palette.marking))
    length = reach * (0.9 + 0.15 * easel.rng.random(count))
    for start, end, color in bands:
        lines = zip(
            pose.placed(polar(angle, start * length, 0.05)),
            pose.placed(polar(angle, end * length, 0.05 + 0.10 * end)),
            strict=True,
        )
        for line in lines:
            easel.stroke(np.stack(line), 0.017 * pose.radius, scaled(color, 0.85 + 0.25 * float(easel.rng.random())))
    _eye(easel, species, pose)
    middle = pose.placed(np.array([0.0, 0.0, 0.1]))
    for tip in pose.placed(polar(np.arange(5) * 2 * pi / 5, 0.17, 0.22)):
        easel.stroke(np.stack([middle, tip]), 0.035 * pose.radius, STYLE)
        _anther(easel, tip, 0.052 * pose.radius, species.anther)


def _eye(easel: Easel, species: Species, pose: Pose) -> None:
    size = species.body.disc
    angle = np.linspace(0, 2 * pi, 28, endpoint=False)
    rings: tuple[tuple[float, RGB], ...] = (
        (1.0, scaled(species.anther, 0.72)),
        (0.86, species.anther),
        (0.5, scaled(species.palette.marking, 0.55)),
        (0.36, (40, 48, 20)),
    )
    for radius, color in rings:
        easel.patch(pose.placed(polar(angle, radius * size, 0.03)), color)

"""The middles of flowers: discs, stamens, columns, trumpets, fringes and eyes."""

from math import cos, pi, radians

import numpy as np
from PIL import Image, ImageDraw

from ml.garden.colour import RGB, mix, scaled
from ml.garden.drawing import Sun, dot, stroke, turned_solid
from ml.garden.forms import Heart
from ml.garden.species import Species
from ml.garden.view import Points, Pose, polar

GOLDEN_ANGLE = pi * (3 - 5**0.5)


def paint_heart(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
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
        painter(canvas, species, pose, sun, rng)


def golden_spiral(count: int) -> tuple[Points, Points]:
    """Angles and radii (0, 1] of `count` points at the golden angle, evenly dense, as seeds in a sunflower.

    Source: Vogel 1979, "A better way to construct the sunflower head".
    """
    number = np.arange(count) + 0.5
    return number * GOLDEN_ANGLE, np.sqrt(number / count)


def _disc(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    size = species.body.disc
    count = int(90 + 260 * size)
    angle, radius = golden_spiral(count)
    height = 0.30 * size * (1 - radius**2) + 0.03
    points = pose.placed(polar(angle, radius * size, height))
    ground = pose.placed(polar(np.linspace(0, 2 * pi, 24), size * 1.06, 0.02))
    draw = ImageDraw.Draw(canvas)
    dark, flat = scaled(species.anther, 0.42), max(cos(radians(pose.tilt)), 0.35)
    draw.polygon([(x, y) for x, y, _ in ground.tolist()], fill=tuple(round(part) for part in (*dark, 255)))
    middle = mix(species.anther, (92, 120, 40) if rng.random() < 0.5 else (60, 34, 20), 0.55)
    grain = size * pose.radius / np.sqrt(count) * 0.92
    for index in np.argsort(points[:, 2]):
        share = float(radius[index])
        colour = mix(middle, species.anther, min(share * 1.25, 1.0))
        x, y = float(points[index, 0]), float(points[index, 1])
        light = 0.80 + 0.28 * float(rng.random()) - 0.12 * (share < 0.35)
        dot(draw, x + 0.25 * grain, y + 0.35 * grain, grain, scaled(colour, 0.55), flat=flat)
        dot(draw, x, y, grain * 0.8, scaled(colour, light), flat=flat)


def _stamens(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    size = species.body.disc
    many = size > 0.075
    count = 26 if many else 6
    reach = 2.1 * size if many else 0.50
    angle = np.arange(count) * (GOLDEN_ANGLE if many else 2 * pi / count) + 0.2 * rng.random(count)
    spread = reach * (0.45 + 0.55 * rng.random(count)) if many else reach * (0.75 + 0.2 * rng.random(count))
    height = 0.9 * reach * (1.15 - spread / reach * 0.6)
    roots, tips = pose.placed(polar(angle, 0.15 * spread, 0.02)), pose.placed(polar(angle, spread, height))
    draw = ImageDraw.Draw(canvas)
    pale = mix(species.palette.throat, (236, 240, 205), 0.55)
    for index in np.argsort(tips[:, 2]):
        stroke(draw, np.stack([roots[index], tips[index]]), 0.016 * pose.radius, scaled(pale, 0.9))
        _anther(draw, tips[index], 0.030 * pose.radius, species.anther)
    style = pose.placed(polar(np.zeros(2), 0.0, np.array([0.0, 1.25 * reach])))
    stroke(draw, style, 0.026 * pose.radius, scaled(pale, 0.85))
    _anther(draw, style[1], 0.034 * pose.radius, (176, 196, 92))


def _anther(draw: ImageDraw.ImageDraw, at: Points, radius: float, colour: RGB) -> None:
    x, y = float(at[0]), float(at[1])
    dot(draw, x + 0.3 * radius, y + 0.4 * radius, radius, scaled(colour, 0.5))
    dot(draw, x, y, radius, colour)
    dot(draw, x - 0.3 * radius, y - 0.3 * radius, 0.4 * radius, mix(colour, (255, 255, 255), 0.35))


def _column(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    height = 0.62
    axis = pose.placed(polar(np.zeros(2), 0.0, np.array([0.0, height])))
    draw = ImageDraw.Draw(canvas)
    stroke(draw, axis, 0.075 * pose.radius, scaled(species.palette.throat, 0.8))
    stroke(draw, axis - 0.012 * pose.radius, 0.035 * pose.radius, mix(species.palette.throat, (255, 255, 240), 0.5))
    count = 34
    angle = np.arange(count) * GOLDEN_ANGLE
    up = 0.30 + 0.70 * (np.arange(count) + 0.5) / count
    tips = pose.placed(polar(angle, 0.085 + 0.02 * rng.random(count), up * height))
    for index in np.argsort(tips[:, 2]):
        _anther(draw, tips[index], 0.024 * pose.radius, species.anther)


def _trumpet(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    size, around = species.body.disc, 44
    depth = (0.25 + 0.9 * (species.body.half_width % 0.1) * 10) * size * 1.6
    angle = np.linspace(0, 2 * pi, around, endpoint=False)
    ruffle = np.cos(angle * 9 + 6 * rng.random()) * np.cos(angle * 4)
    rings = []
    for up in (0.0, 0.3, 0.6, 0.85, 1.0):
        flare = size * (0.62 + 0.22 * up + 0.22 * up**6)
        rings.append(polar(angle, flare * (1 + 0.07 * ruffle * up**3), depth * (up + 0.06 * ruffle * up**3) + 0.02))
    colour = species.anther if species.anther[0] > 120 else species.palette.tip
    rim = mix(colour, species.palette.marking, 0.25)
    outside = [scaled(colour, 0.80), colour, colour, mix(colour, rim, 0.5), rim]
    inside = [scaled(colour, 0.38), scaled(colour, 0.58), scaled(colour, 0.80), colour, mix(rim, (255, 255, 255), 0.2)]
    floor = pose.placed(polar(angle, size * 0.62, 0.02))
    draw = ImageDraw.Draw(canvas)
    deep = scaled(mix(colour, (110, 130, 40), 0.4), 0.45)
    draw.polygon([(x, y) for x, y, _ in floor.tolist()], fill=tuple(round(part) for part in (*deep, 255)))
    turned_solid(canvas, pose, np.stack(rings), outside, inside, sun)
    for turn in np.arange(6) * pi / 3:
        tip = pose.placed(polar(np.array([turn]), 0.10 * size, 0.55 * depth))[0]
        _anther(draw, tip, 0.10 * size * pose.radius, mix(species.anther, (250, 220, 120), 0.4))


def _filaments(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    count, reach = 64, 0.62
    angle = np.arange(count) * 2 * pi / count + 0.03 * rng.random(count)
    bands = ((0.14, 0.28, species.palette.throat), (0.28, 0.42, (246, 244, 238)), (0.42, 1.0, species.palette.marking))
    draw = ImageDraw.Draw(canvas)
    length = reach * (0.9 + 0.15 * rng.random(count))
    for start, end, colour in bands:
        here = pose.placed(polar(angle, start * length, 0.05))
        there = pose.placed(polar(angle, end * length, 0.05 + 0.10 * end))
        for one, other in zip(here, there, strict=True):
            stroke(draw, np.stack([one, other]), 0.017 * pose.radius, scaled(colour, 0.85 + 0.25 * float(rng.random())))
    _eye(canvas, species, pose, sun, rng)
    for turn in np.arange(5) * 2 * pi / 5:
        tip = pose.placed(polar(np.array([turn]), 0.17, 0.22))[0]
        stroke(draw, np.stack([pose.placed(np.array([0.0, 0.0, 0.1])), tip]), 0.035 * pose.radius, (176, 196, 92))
        _anther(draw, tip, 0.052 * pose.radius, species.anther)


def _eye(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    size = species.body.disc
    draw = ImageDraw.Draw(canvas)
    angle = np.linspace(0, 2 * pi, 28, endpoint=False)
    for radius, colour in (
        (1.0, scaled(species.anther, 0.72)), (0.86, species.anther), (0.5, scaled(species.palette.marking, 0.55)),
        (0.36, (40, 48, 20)),
    ):  # fmt: skip
        ring = pose.placed(polar(angle, radius * size, 0.03))
        draw.polygon([(x, y) for x, y, _ in ring.tolist()], fill=tuple(round(part) for part in (*colour, 255)))

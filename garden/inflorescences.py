"""Many florets together: umbels, globes, clusters and spikes."""

from dataclasses import dataclass, replace
from math import pi

import numpy as np
from PIL import Image

from garden.blooms import paint_of, whorls
from garden.color import mix, scaled
from garden.drawing import Easel, PetalPainter
from garden.hearts import golden_spiral, paint_heart
from garden.species import Species
from garden.view import GOLDEN_ANGLE, Points, Pose, polar

FLORET = 1.25  # half side of a floret's picture, in radii of the floret


@dataclass(frozen=True)
class Florets:
    """Small pictures of one floret, facing us (first) and outwards in six directions, in three strengths of light."""

    images: list[list[Image.Image]]

    def paste(self, canvas: Image.Image, at: Points, outward: Points, brightness: float, scale: float = 1.0) -> None:
        """Paint a floret at a point, facing `outward` (right, down, towards us); brightness about [0.6, 1.1]."""
        facing = 0
        if outward[2] < 0.80:
            facing = 1 + int(np.floor((np.arctan2(outward[0], -outward[1]) / (2 * pi)) * 6 + 0.5)) % 6
        image = self.images[facing][int(np.clip((brightness - 0.68) * 8, 0, 2))]
        if scale < 0.95:
            side = max(round(image.width * scale), 4)
            image = image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=1.0)
        left, top = round(float(at[0]) - image.width / 2), round(float(at[1]) - image.height / 2)
        if -image.width < left < canvas.width and -image.height < top < canvas.height:
            canvas.alpha_composite(image, (max(left, 0), max(top, 0)), (max(-left, 0), max(-top, 0)))


def _florets(easel: Easel, species: Species, radius: float) -> Florets:
    images = []
    side = max(round(2 * FLORET * radius), 6)
    spin = float(easel.rng.random()) * 72
    for facing in range(7):
        small = replace(easel, image=Image.new("RGBA", (side, side)))
        tilt = 52.0 if facing else 8.0
        pose = Pose(side / 2, side / 2, radius, tilt, 60.0 * (facing - 1), spin + 31 * facing)
        painter = PetalPainter(small, whorls(small, species), species.body.shape, paint=paint_of(species), pose=pose)
        painter.paint(behind=False)
        paint_heart(small, species, pose)
        painter.paint(behind=True)
        images.append([_dimmed(small.image, level) for level in (0.78, 0.90, 1.0)])
    return Florets(images)


def _dimmed(image: Image.Image, level: float) -> Image.Image:
    if level == 1.0:
        return image
    table = [round(value * level) for value in range(256)]
    return image.point(table * 3 + list(range(256)))


def paint_umbel(easel: Easel, species: Species, pose: Pose) -> None:
    """Rays from one point, each ending in a small umbel of its own, as in wild carrot."""
    rays, each = 25, 9
    angle, radius = golden_spiral(rays)
    height = 0.22 * (1 - radius**2) + easel.jitter(rays, 0.03)
    ends = polar(angle, radius * 0.86, height)
    hub = np.array([0.0, 0.0, -0.62])
    _rays(easel, species, pose, start=hub, ends=ends, width=0.020)
    spread, out = golden_spiral(each)
    tops = polar(spread, out * 0.14, 0.05 * (1 - out**2))
    points = (ends[:, None] + tops[None]).reshape(-1, 3) + easel.jitter(rays * each * 3, 0.012).reshape(-1, 3)
    _rays(easel, species, pose, start=ends - np.array([0.0, 0.0, 0.12]), ends=ends, width=0.014)
    outward = pose.turned(_unit(points - hub * 1.6))
    _scatter(easel, species, pose.placed(points), outward, radius=0.074 * pose.radius)


def paint_globe(easel: Easel, species: Species, pose: Pose) -> None:
    """Florets evenly all over a ball (a Fibonacci lattice); those on the far side stay unpainted."""
    count = 170
    up = 1 - 2 * (np.arange(count) + 0.5) / count
    around = np.arange(count) * GOLDEN_ANGLE + easel.jitter(count, 0.10)
    ball = polar(around, np.sqrt(1 - up**2), up)
    outward = pose.turned(ball)
    seen = outward[:, 2] > -0.25
    reach = (0.86 + easel.jitter(count, 0.03))[:, None]
    middle = pose.placed(np.zeros(3))
    core = scaled(mix(species.palette.petal, species.leaf, 0.45), 0.5)
    easel.dot(float(middle[0]), float(middle[1]), 0.62 * pose.radius, core)
    points = pose.placed(ball * reach)
    _scatter(easel, species, points[seen], outward[seen], radius=0.19 * pose.radius)


def paint_cluster(easel: Easel, species: Species, pose: Pose) -> None:
    """A dome of broad florets, as of phlox or hydrangea."""
    count = 24
    angle, radius = golden_spiral(count)
    height = 0.52 * np.sqrt(1.05 - radius**2) - 0.35
    points = polar(angle + easel.jitter(count, 0.1), radius * 0.76, height)
    outward = pose.turned(_unit(points + np.array([0.0, 0.0, 0.75])))
    _rays(easel, species, pose, start=np.array([0.0, 0.0, -0.7]), ends=points, width=0.03)
    _scatter(easel, species, pose.placed(points), outward, radius=0.30 * pose.radius)


def paint_spike(easel: Easel, species: Species, pose: Pose) -> None:
    """Florets spiralling up a stem, open below, buds at the top."""
    count = 52
    up = (np.arange(count) + 0.5) / count
    sway = 0.22 * float(easel.rng.random() - 0.5)
    angle = np.arange(count) * GOLDEN_ANGLE
    width = 0.30 * (1 - 0.80 * up**1.3)
    points = polar(angle, width, 2.1 * up - 1.05) + np.stack([sway * up**2, 0 * up, 0 * up], axis=-1)
    outward = pose.turned(polar(angle, 1.0))
    axis = pose.placed(np.stack([sway * np.linspace(0, 1, 8) ** 2, np.zeros(8), np.linspace(-1.1, 1.02, 8)], axis=-1))
    easel.stroke(axis, 0.05 * pose.radius, scaled(species.leaf, 0.85))
    scale = (1 - 0.68 * up**1.5) * (0.95 + easel.jitter(count, 0.06))
    seen = (outward[:, 2] > -0.45) & (up < 0.93)
    placed = pose.placed(points)
    _buds(easel, species, placed[up > 0.80], pose.radius)
    _scatter(easel, species, placed[seen], outward[seen], radius=0.27 * pose.radius, scale=scale[seen])


def _buds(easel: Easel, species: Species, points: Points, radius: float) -> None:
    green = mix(species.leaf, species.palette.petal, 0.45)
    for share, (x, y, _) in zip(np.linspace(1, 0.45, len(points)), points.tolist(), strict=True):
        easel.dot(x, y + 2, 0.062 * radius * share, scaled(green, 0.6), flat=1.4)
        easel.dot(x, y, 0.055 * radius * share, green, flat=1.4)


def _scatter(
    easel: Easel, species: Species, points: Points, outward: Points, *, radius: float, scale: Points | None = None
) -> None:
    """Paint florets of `radius` pixels at points (N, 3), the farthest first, each lit as it faces."""
    florets = _florets(easel, species, radius)
    count = len(points)
    near = 0.92 + 0.08 * np.clip(outward[:, 2], 0, 1)
    brightness = easel.sun.on(outward) * (1 + easel.jitter(count, 0.10)) * near
    sizes = np.ones(count) if scale is None else scale
    for index in np.argsort(points[:, 2]):
        florets.paste(easel.image, points[index], outward[index], float(brightness[index]), float(sizes[index]))


def _rays(easel: Easel, species: Species, pose: Pose, *, start: Points, ends: Points, width: float) -> None:
    starts = np.broadcast_to(pose.placed(start), ends.shape)
    for one, other in zip(starts, pose.placed(ends), strict=True):
        line, wide = np.stack([one, other]), width * pose.radius
        easel.stroke(line, 1.6 * wide, scaled(species.leaf, 0.62))
        easel.stroke(line - 0.3 * wide, 0.8 * wide, scaled(species.leaf, 1.1))


def _unit(vectors: Points) -> Points:
    return vectors / np.sqrt((vectors**2).sum(axis=-1, keepdims=True))

"""Whole flower heads: how petals and florets are put together."""

from dataclasses import dataclass
from math import cos, pi, radians, sin

import numpy as np
from PIL import Image, ImageDraw

from ml.garden.colour import RGB, mix, scaled
from ml.garden.drawing import PetalPainter, Petals, Sun, dot, stroke, turned_solid
from ml.garden.forms import Head, Heart, Shape
from ml.garden.hearts import GOLDEN_ANGLE, golden_spiral, paint_heart
from ml.garden.petals import Paint
from ml.garden.species import Marking, Species
from ml.garden.view import Points, Pose, polar

FLORET = 1.25  # half side of a floret's picture, in radii of the floret
SEPAL = Shape(0.35, 1.0, fold=0.3)


def paint_head(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    """Paint one flower head of the species, `pose.radius` pixels from its centre to its rim."""
    painters = {
        Head.RING: _ring,
        Head.SPIRAL: _spiral,
        Head.FACE: _face,
        Head.UMBEL: _umbel,
        Head.GLOBE: _globe,
        Head.SPIKE: _spike,
        Head.BELLS: _bells,
        Head.CLUSTER: _cluster,
    }
    painters[species.body.form.head](canvas, species, pose, sun, rng)


def paint_of(species: Species) -> Paint:
    """What the species' petals are painted with."""
    colours = species.palette
    back = mix(colours.petal, (214, 220, 178), 0.28)
    return Paint(colours.throat, colours.petal, colours.tip, colours.marking, back, species.marking)


def _jitter(rng: np.random.Generator, count: int, size: float) -> Points:
    return size * (2 * rng.random(count) - 1)


def _ring(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    body = species.body
    if pose.tilt > 40 or body.half_width * body.petals < 2.4:
        _sepals(canvas, species, pose, sun, rng)
    painter = PetalPainter(_whorls(species, rng), body.shape, paint_of(species), pose, sun, rng)
    painter.paint(canvas, behind=False)
    paint_heart(canvas, species, pose, sun, rng)
    painter.paint(canvas, behind=True)


def _whorls(species: Species, rng: np.random.Generator) -> Petals:
    body, whorls = species.body, species.body.form.whorls
    split = whorls == 2 and body.petals == 6  # lilies and tulips: two whorls of three
    each = body.petals // 2 if split else body.petals
    whorl = np.repeat(np.arange(whorls), each)
    count = len(whorl)
    place = np.tile(np.arange(each), whorls) + 0.5 * whorl
    inner = 0.0 if split else 1.0
    base = 0.55 * body.disc if body.form.hearts in (Heart.DISC, Heart.FILAMENTS) else 0.03
    return Petals(
        azimuth=place * 2 * pi / each + _jitter(rng, count, 0.22 / each),
        elevation=np.radians(body.elevation + 16 * inner * whorl + _jitter(rng, count, 5)),
        length=(1 - base) * (1 - 0.17 * inner * whorl) * (0.96 + _jitter(rng, count, 0.05)),
        half_width=body.half_width * (1 - 0.12 * inner * whorl) * (1 + _jitter(rng, count, 0.06)),
        base=np.full(count, base),
        whorl=whorl,
        depth=1 - 0.05 * whorl + _jitter(rng, count, 0.035),
    )


def _spiral(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    body, count = species.body, species.body.petals
    share = np.arange(count) / (count - 1)  # 0 outermost, 1 innermost
    size = 1 - 0.72 * share**1.1
    petals = Petals(
        azimuth=np.arange(count) * GOLDEN_ANGLE + _jitter(rng, count, 0.08),
        elevation=np.radians(body.elevation + 58 * share**1.4 + _jitter(rng, count, 4)),
        length=size * (0.97 + _jitter(rng, count, 0.05)),
        half_width=np.minimum(body.half_width, 0.60) * size**0.8,
        base=np.full(count, 0.02),
        whorl=(share * 5).astype(np.int64),
        depth=1.02 - 0.16 * share + _jitter(rng, count, 0.05),
    )
    painter = PetalPainter(petals, body.shape, paint_of(species), pose, sun, rng)
    painter.paint(canvas, behind=False)
    painter.paint(canvas, behind=True)


# Petals of a flower with a left and a right: azimuth in degrees (90 is down), length, half width, colour role.
_PANSY = ((-118, 0.92, 0.56, "upper"), (-62, 0.92, 0.56, "upper"), (172, 0.88, 0.50, "side"), (8, 0.88, 0.50, "side"),
          (90, 0.95, 0.62, "lip"))  # fmt: skip
_ORCHID = ((-90, 0.95, 0.26, "sepal"), (145, 0.98, 0.25, "sepal"), (35, 0.98, 0.25, "sepal"),
           (-168, 0.97, 0.46, "side"), (-12, 0.97, 0.46, "side"), (90, 0.66, 0.40, "lip"))  # fmt: skip


def _face(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    pose = Pose(pose.x, pose.y, pose.radius, pose.tilt, pose.lean * 0.6, 24 * (rng.random() - 0.5))
    for role in ("sepal", "upper", "side", "lip"):
        plan = [petal for petal in (_PANSY if species.body.petals == 5 else _ORCHID) if petal[3] == role]
        if plan:
            petals = _planned(plan, species, rng)
            PetalPainter(petals, species.body.shape, _role_paint(species, role), pose, sun, rng).paint(canvas, behind=False)
    paint_heart(canvas, species, pose, sun, rng)


def _planned(plan: list[tuple[int, float, float, str]], species: Species, rng: np.random.Generator) -> Petals:
    count = len(plan)
    return Petals(
        azimuth=np.radians([float(petal[0]) for petal in plan]) + _jitter(rng, count, 0.06),
        elevation=np.radians(6 + _jitter(rng, count, 6)),
        length=np.array([petal[1] for petal in plan]) * (1 + _jitter(rng, count, 0.04)),
        half_width=np.array([petal[2] for petal in plan]) * (0.85 + 0.5 * (species.body.leaf_length - 0.9)),
        base=np.full(count, 0.02),
        whorl=np.zeros(count, np.int64),
        depth=1 + _jitter(rng, count, 0.04),
    )


def _role_paint(species: Species, role: str) -> Paint:
    """The upper petals of a pansy and the lip of an orchid wear the species' second colour."""
    paint = paint_of(species)
    colours = species.palette
    contrast = mix(colours.marking, colours.petal, 0.18)
    if role == "upper" or (role == "lip" and species.body.petals == 6):
        return Paint(colours.throat, contrast, mix(contrast, colours.petal, 0.3), colours.marking, paint.back, Marking(0.2, veins=0.4))
    if role == "sepal":
        return Paint(colours.throat, scaled(colours.petal, 0.93), colours.petal, colours.marking, paint.back, Marking(0.1, veins=0.4))
    return paint


def _sepals(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    green = species.leaf
    paint = Paint(scaled(green, 0.7), green, scaled(green, 1.1), scaled(green, 0.7), scaled(green, 0.8), Marking(veins=0.4))
    count = 5
    petals = Petals(
        azimuth=(np.arange(count) + 0.5) * 2 * pi / count + _jitter(rng, count, 0.1),
        elevation=np.radians(np.minimum(species.body.elevation, 50) - 6 + _jitter(rng, count, 6)),
        length=np.full(count, 0.46), half_width=np.full(count, 0.12), base=np.full(count, 0.05),
        whorl=np.zeros(count, np.int64), depth=np.full(count, 0.85),
    )  # fmt: skip
    PetalPainter(petals, SEPAL, paint, pose, sun, rng).paint(canvas, behind=False)


@dataclass(frozen=True)
class Florets:
    """Small pictures of one floret, facing us (first) and outwards in six directions, in three strengths of light."""

    pictures: list[list[Image.Image]]

    def paste(self, canvas: Image.Image, at: Points, outward: Points, brightness: float, scale: float = 1.0) -> None:
        """Paint a floret at a point, facing `outward` (right, down, towards us); brightness about [0.6, 1.1]."""
        facing = 0
        if outward[2] < 0.80:
            facing = 1 + int(np.floor((np.arctan2(outward[0], -outward[1]) / (2 * pi)) * 6 + 0.5)) % 6
        picture = self.pictures[facing][int(np.clip((brightness - 0.68) * 8, 0, 2))]
        if scale < 0.95:
            side = max(round(picture.width * scale), 4)
            picture = picture.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=1.0)
        left, top = round(float(at[0]) - picture.width / 2), round(float(at[1]) - picture.height / 2)
        place = (max(left, 0), max(top, 0))
        hidden = (place[0] - left, place[1] - top)
        if max(left, 0) < canvas.width and max(top, 0) < canvas.height and hidden[0] < picture.width and hidden[1] < picture.height:
            canvas.alpha_composite(picture, place, hidden)


def _florets(species: Species, radius: float, sun: Sun, rng: np.random.Generator, *, tilt: float = 52) -> Florets:
    pictures = []
    side = max(round(2 * FLORET * radius), 6)
    spin = float(rng.random()) * 72
    for facing in range(7):
        canvas = Image.new("RGBA", (side, side))
        pose = Pose(side / 2, side / 2, radius, tilt if facing else 8, 60 * (facing - 1), spin + 31 * facing)
        painter = PetalPainter(_whorls(species, rng), species.body.shape, paint_of(species), pose, sun, rng)
        painter.paint(canvas, behind=False)
        paint_heart(canvas, species, pose, sun, rng)
        painter.paint(canvas, behind=True)
        pictures.append([_dimmed(canvas, level) for level in (0.78, 0.90, 1.0)])
    return Florets(pictures)


def _dimmed(picture: Image.Image, level: float) -> Image.Image:
    if level == 1.0:
        return picture
    table = [round(value * level) for value in range(256)]
    return picture.point(table * 3 + list(range(256)))


def _umbel(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    """Rays from one point, each ending in a small umbel of its own, as in wild carrot."""
    rays, each = 19, 8
    angle, radius = golden_spiral(rays)
    height = 0.22 * (1 - radius**2) + _jitter(rng, rays, 0.03)
    ends = polar(angle, radius * 0.86, height)
    hub = np.array([0.0, 0.0, -0.62])
    _rays(canvas, species, pose, hub, ends, 0.020)
    spread, out = golden_spiral(each)
    tops = polar(spread, out * 0.155, 0.05 * (1 - out**2))
    points = (ends[:, None] + tops[None]).reshape(-1, 3) + _jitter(rng, rays * each * 3, 0.012).reshape(-1, 3)
    _rays(canvas, species, pose, ends - np.array([0.0, 0.0, 0.12]), ends, 0.014)
    outward = pose.turned(_unit(points - hub * 1.6))
    _scatter(canvas, species, pose.placed(points), outward, 0.078 * pose.radius, sun, rng)


def _globe(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    """Florets evenly all over a ball (a Fibonacci lattice); those on the far side stay unpainted."""
    count = 170
    up = 1 - 2 * (np.arange(count) + 0.5) / count
    ball = polar(np.arange(count) * GOLDEN_ANGLE, np.sqrt(1 - up**2), up)
    outward = pose.turned(ball)
    seen = outward[:, 2] > -0.25
    reach = (0.86 + _jitter(rng, count, 0.03))[:, None]
    middle = pose.placed(np.zeros(3))
    draw = ImageDraw.Draw(canvas)
    dot(draw, float(middle[0]), float(middle[1]), 0.62 * pose.radius, scaled(mix(species.palette.petal, species.leaf, 0.45), 0.5))
    points = pose.placed(ball * reach)
    _scatter(canvas, species, points[seen], outward[seen], 0.19 * pose.radius, sun, rng)


def _cluster(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    """A dome of broad florets, as of phlox or hydrangea."""
    count = 24
    angle, radius = golden_spiral(count)
    height = 0.52 * np.sqrt(1.05 - radius**2) - 0.35
    points = polar(angle + _jitter(rng, count, 0.1), radius * 0.76, height)
    outward = pose.turned(_unit(points + np.array([0.0, 0.0, 0.75])))
    _rays(canvas, species, pose, np.array([0.0, 0.0, -0.7]), points, 0.03)
    _scatter(canvas, species, pose.placed(points), outward, 0.30 * pose.radius, sun, rng)


def _spike(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    """Florets spiralling up a stem, open below, buds at the top."""
    count = 52
    up = (np.arange(count) + 0.5) / count
    sway = 0.22 * float(rng.random() - 0.5)
    angle = np.arange(count) * GOLDEN_ANGLE
    width = 0.30 * (1 - 0.80 * up**1.3)
    points = polar(angle, width, 2.1 * up - 1.05) + np.stack([sway * up**2, 0 * up, 0 * up], axis=-1)
    outward = pose.turned(polar(angle, 1.0))
    axis = pose.placed(np.stack([sway * np.linspace(0, 1, 8) ** 2, np.zeros(8), np.linspace(-1.1, 1.02, 8)], axis=-1))
    stroke(ImageDraw.Draw(canvas), axis, 0.05 * pose.radius, scaled(species.leaf, 0.85))
    scale = (1 - 0.68 * up**1.5) * (0.95 + _jitter(rng, count, 0.06))
    seen = (outward[:, 2] > -0.45) & (up < 0.93)
    placed = pose.placed(points)
    _buds(canvas, species, placed[up > 0.80], pose.radius)
    _scatter(canvas, species, placed[seen], outward[seen], 0.27 * pose.radius, sun, rng, scale=scale[seen])


def _buds(canvas: Image.Image, species: Species, points: Points, radius: float) -> None:
    draw = ImageDraw.Draw(canvas)
    green = mix(species.leaf, species.palette.petal, 0.45)
    for share, (x, y, _) in zip(np.linspace(1, 0.45, len(points)), points.tolist(), strict=True):
        dot(draw, x, y + 2, 0.062 * radius * share, scaled(green, 0.6), flat=1.4)
        dot(draw, x, y, 0.055 * radius * share, green, flat=1.4)


def _scatter(
    canvas: Image.Image,
    species: Species,
    points: Points,
    outward: Points,
    radius: float,
    sun: Sun,
    rng: np.random.Generator,
    scale: Points | None = None,
) -> None:
    """Paint florets of `radius` pixels at points (N, 3), the farthest first, each lit as it faces."""
    florets = _florets(species, radius, sun, rng)
    brightness = sun.on(outward) * (1 + _jitter(rng, len(points), 0.10)) * (0.82 + 0.18 * np.clip(outward[:, 2], 0, 1))
    for index in np.argsort(points[:, 2]):
        florets.paste(canvas, points[index], outward[index], float(brightness[index]), 1.0 if scale is None else float(scale[index]))


def _rays(canvas: Image.Image, species: Species, pose: Pose, start: Points, ends: Points, width: float) -> None:
    starts = np.broadcast_to(pose.placed(start), ends.shape)
    draw = ImageDraw.Draw(canvas)
    for one, other in zip(starts, pose.placed(ends), strict=True):
        stroke(draw, np.stack([one, other]), width * pose.radius * 1.6, scaled(species.leaf, 0.62))
        stroke(draw, np.stack([one, other]) - 0.3 * width * pose.radius, width * pose.radius * 0.8, scaled(species.leaf, 1.1))


def _bells(canvas: Image.Image, species: Species, pose: Pose, sun: Sun, rng: np.random.Generator) -> None:
    """Bells hanging from an arching stem, the youngest smallest and nearest its tip."""
    count, side = 5 + int(rng.integers(3)), 1 if rng.random() < 0.5 else -1
    share = np.linspace(0, 1, 24)
    arch = np.stack([side * (0.95 * share**1.8 - 0.35), 0.95 - 1.75 * share + 0.75 * share**3.2], axis=-1)
    arch = arch * pose.radius + np.array([pose.x, pose.y])
    draw = ImageDraw.Draw(canvas)
    stroke(draw, arch, 0.055 * pose.radius, scaled(species.leaf, 0.7))
    stroke(draw, arch - 0.012 * pose.radius, 0.022 * pose.radius, scaled(species.leaf, 1.12))
    lips = species.body.petals
    for number in range(count):
        place = 0.34 + 0.66 * number / (count - 1)
        size = pose.radius * (0.40 - 0.20 * place) * (0.94 + 0.12 * rng.random())
        swing = side * (30 - 34 * (number % 2)) * (1 - 0.3 * place) + 8 * (rng.random() - 0.5)
        stalk = arch[min(int(place * 23), 23)]
        hang = np.array([sin(radians(swing)), cos(radians(swing))]) * size * 0.55
        stroke(ImageDraw.Draw(canvas), np.stack([stalk, stalk + hang * 0.4 + [0, -0.06 * size], stalk + hang]), 0.03 * pose.radius, scaled(species.leaf, 0.8))
        bell = Pose(*(stalk + hang), size, 62 + 22 * rng.random(), 180 - swing, 360 * rng.random())
        _bell(canvas, species, bell, lips, sun)


def _bell(canvas: Image.Image, species: Species, pose: Pose, lips: int, sun: Sun) -> None:
    around = 10 * lips
    angle = np.linspace(0, 2 * pi, around, endpoint=False)
    lobe = np.abs(np.cos(angle * lips / 2))
    slim = 0.42 + 0.8 * species.body.half_width % 0.25
    rings = []
    for up in np.linspace(0, 1, 9):
        width = slim * (0.30 + 1.15 * min(up * 2.2, 1.0) ** 0.6 * (1 - 0.22 * up) + 0.42 * up**5)
        rings.append(polar(angle, width * (1 + 0.07 * lobe * up + 0.30 * lobe * up**9), 1.55 * up - 0.34 * (1 - lobe) * up**4))
    colours = species.palette
    top, petal = mix(colours.petal, species.leaf, 0.35), colours.petal
    outside: list[RGB] = [mix(top, petal, min(up * 2.5, 1)) for up in np.linspace(0, 0.7, 6)] + [petal, mix(petal, colours.tip, 0.6), colours.tip]
    inside = [scaled(mix(colours.throat, petal, 0.5), 0.42 + 0.5 * up) for up in np.linspace(0, 1, 9)]
    turned_solid(canvas, pose, np.stack(rings), outside, inside, sun)
    crown = pose.placed(np.zeros(3))
    dot(ImageDraw.Draw(canvas), float(crown[0]), float(crown[1]), 0.20 * pose.radius, scaled(species.leaf, 0.8))


def _unit(vectors: Points) -> Points:
    return vectors / np.sqrt((vectors**2).sum(axis=-1, keepdims=True))

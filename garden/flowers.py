"""Whole flowers: petals in rings, spirals and faces around a center, and spikes of many small flowers."""

from dataclasses import dataclass, replace
from math import pi

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from garden.catalog import Center, Head, Marking, Shape
from garden.centers import paint_center
from garden.color import mix, scaled
from garden.easel import GOLDEN_ANGLE, Easel, Points, Pose, polar
from garden.petals import BEFORE, BESIDE, BEYOND, Paint, PetalLight, paste_petal, petal_images
from garden.species import Species

# Up to this many petals each have a drawing of their own; more share those of their sector and whorls.
OWN_DRAWINGS = 12
SECTORS = 6
DETAIL = 0.70  # pixels of a petal's drawing to one pixel of the (supersampled) picture
FINE = 300  # pixels of the same: the radius up to which petals are drawn in that detail
SEPAL = Shape(0.35, 1.0, fold=0.3)
FLORET = 1.25  # half side of a floret's picture, in radii of the floret

# Petals of a flower with a left and a right: azimuth in degrees (90 is down), length, half width, color role.
PANSY = ((-118, 0.92, 0.56, "upper"), (-62, 0.92, 0.56, "upper"), (172, 0.88, 0.50, "side"), (8, 0.88, 0.50, "side"),
         (90, 0.95, 0.62, "lip"))  # fmt: skip
ORCHID = ((-90, 0.95, 0.26, "sepal"), (145, 0.98, 0.25, "sepal"), (35, 0.98, 0.25, "sepal"),
          (-168, 0.97, 0.46, "side"), (-12, 0.97, 0.46, "side"), (90, 0.66, 0.40, "lip"))  # fmt: skip


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


class PetalPainter:
    """The petals of one flower, drawn but not yet on the picture."""

    def __init__(self, easel: Easel, petals: Petals, shape: Shape, *, paint: Paint, pose: Pose) -> None:
        self.canvas, self.petals = easel.image, petals
        flat, rise = np.cos(petals.elevation), np.sin(petals.elevation)
        east, north = np.cos(petals.azimuth), np.sin(petals.azimuth)
        along = np.stack([east * flat, north * flat, rise], axis=-1)
        across = np.stack([-north, east, np.zeros_like(east)], axis=-1)
        normal = pose.turned(np.cross(along, across))
        along, across = pose.turned(along), pose.turned(across)
        self.behind = normal[:, 2] < 0.02
        facing = np.where(self.behind[:, None], -normal, normal)
        level, sun = easel.sun.on(facing) * petals.depth, easel.sun
        self.drawing, chosen = _shared_drawings(petals, self.behind)
        light = PetalLight(
            level=level[chosen].astype(np.float32),
            along=sun.slant(along)[chosen].astype(np.float32),
            across=sun.slant(across)[chosen].astype(np.float32),
            back=self.behind[chosen],
        )
        self.images = petal_images(shape, paint, light, _drawing_size(petals, pose.radius), easel.rng)
        self.origin = pose.placed(polar(petals.azimuth, petals.base))
        self.along = along * petals.length[:, None] * pose.radius
        self.across = across * petals.half_width[:, None] * pose.radius

    def paint(self, *, behind: bool) -> None:
        """Paint the petals that turn their back to us (`behind`), or those that face us, farthest first."""
        nearness = self.origin[:, 2] + self.along[:, 2]
        whorl = -self.petals.whorl if behind else self.petals.whorl
        for index in np.lexsort((nearness, whorl)):
            if self.behind[index] == behind:
                image = self.images[self.drawing[index]]
                paste_petal(self.canvas, image, self.origin[index, :2], self.along[index, :2], self.across[index, :2])


def _shared_drawings(petals: Petals, behind: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each petal the number of its drawing; for each drawing a petal that it is drawn for."""
    count = len(petals.azimuth)
    if count <= OWN_DRAWINGS:
        return np.arange(count), np.arange(count)
    sector = np.floor((petals.azimuth / (2 * np.pi)) % 1.0 * SECTORS).astype(np.int64)
    key = (petals.whorl // 2 * SECTORS + sector) * 2 + behind
    _, first, drawing = np.unique(key, return_index=True, return_inverse=True)
    return drawing, first


def _drawing_size(petals: Petals, radius: float) -> tuple[int, int]:
    scale = max(min(radius, FINE), radius / 2) * DETAIL  # large flowers are reduced by half when they are done
    length = float(petals.length.max()) * scale * (1 + BEFORE + BEYOND)
    width = float(petals.half_width.max()) * scale * 2 * BESIDE
    return max(round(length), 8), max(round(width), 8)


def paint_flower(easel: Easel, species: Species, pose: Pose) -> None:
    """Paint one flower of the species, `pose.radius` pixels from its center to its rim."""
    painters = {Head.RING: _ring, Head.SPIRAL: _spiral, Head.FACE: _face, Head.SPIKE: _spike}
    painters[species.body.form.head](easel, species, pose)


def _paint_of(species: Species) -> Paint:
    colors = species.palette
    back = mix(colors.petal, (214, 220, 178), 0.28)
    return Paint(colors.throat, colors.petal, colors.tip, colors.marking, back, species.marking)


def _ring(easel: Easel, species: Species, pose: Pose) -> None:
    """One or more whorls: sepals, petals facing us, the center, petals before the center."""
    body = species.body
    if pose.tilt > 40 or body.half_width * body.petals < 2.4:
        _sepals(easel, species, pose)
    _open_flower(easel, species, pose)


def _open_flower(easel: Easel, species: Species, pose: Pose) -> None:
    painter = PetalPainter(easel, _whorls(easel, species), species.body.shape, paint=_paint_of(species), pose=pose)
    painter.paint(behind=False)
    paint_center(easel, species, pose)
    painter.paint(behind=True)


def _whorls(easel: Easel, species: Species) -> Petals:
    """Petals of an open flower, whorl by whorl from the outermost, every one a little different."""
    body, rounds = species.body, species.body.form.whorls
    split = rounds == 2 and body.petals == 6  # lilies and tulips: two whorls of three
    each = body.petals // 2 if split else body.petals
    whorl = np.repeat(np.arange(rounds), each)
    count = len(whorl)
    place = np.tile(np.arange(each), rounds) + 0.5 * whorl
    inner = 0.0 if split else 1.0
    base = 0.55 * body.disc if body.form.center in (Center.DISC, Center.FILAMENTS) else 0.03
    return Petals(
        azimuth=place * 2 * pi / each + easel.jitter(count, 0.22 / each),
        elevation=np.radians(body.elevation + 16 * inner * whorl + easel.jitter(count, 5)),
        length=(1 - base) * (1 - 0.17 * inner * whorl) * (0.96 + easel.jitter(count, 0.05)),
        half_width=body.half_width * (1 - 0.12 * inner * whorl) * (1 + easel.jitter(count, 0.06)),
        base=np.full(count, base),
        whorl=whorl,
        depth=1 - 0.05 * whorl + easel.jitter(count, 0.035),
    )


def _sepals(easel: Easel, species: Species, pose: Pose) -> None:
    green, dark = species.leaf, scaled(species.leaf, 0.7)
    paint = Paint(dark, green, scaled(green, 1.1), dark, scaled(green, 0.8), Marking(veins=0.4))
    count = 5
    petals = Petals(
        azimuth=(np.arange(count) + 0.5) * 2 * pi / count + easel.jitter(count, 0.1),
        elevation=np.radians(np.minimum(species.body.elevation, 50) - 6 + easel.jitter(count, 6)),
        length=np.full(count, 0.46), half_width=np.full(count, 0.12), base=np.full(count, 0.05),
        whorl=np.zeros(count, np.int64), depth=np.full(count, 0.85),
    )  # fmt: skip
    PetalPainter(easel, petals, SEPAL, paint=paint, pose=pose).paint(behind=False)


def _spiral(easel: Easel, species: Species, pose: Pose) -> None:
    """A full flower, its petals at the golden angle, smaller and steeper towards the middle."""
    body, count = species.body, species.body.petals
    share = np.arange(count) / (count - 1)  # 0 outermost, 1 innermost
    size = 1 - 0.72 * share**1.1
    petals = Petals(
        azimuth=np.arange(count) * GOLDEN_ANGLE + easel.jitter(count, 0.08),
        elevation=np.radians(body.elevation + 58 * share**1.4 + easel.jitter(count, 4)),
        length=size * (0.97 + easel.jitter(count, 0.05)),
        half_width=np.minimum(body.half_width, 0.60) * size**0.8,
        base=np.full(count, 0.02),
        whorl=(share * 5).astype(np.int64),
        depth=1.02 - 0.16 * share + easel.jitter(count, 0.05),
    )
    painter = PetalPainter(easel, petals, body.shape, paint=_paint_of(species), pose=pose)
    painter.paint(behind=False)
    painter.paint(behind=True)


def _face(easel: Easel, species: Species, pose: Pose) -> None:
    """A flower with a left and a right, a pansy (5 petals) or an orchid (6), from the back forwards."""
    pose = replace(pose, lean=pose.lean * 0.6, spin=24 * (easel.rng.random() - 0.5))
    for role in ("sepal", "upper", "side", "lip"):
        plan = [petal for petal in (PANSY if species.body.petals == 5 else ORCHID) if petal[3] == role]
        if not plan:
            continue
        count = len(plan)
        petals = Petals(
            azimuth=np.radians([float(petal[0]) for petal in plan]) + easel.jitter(count, 0.06),
            elevation=np.radians(6 + easel.jitter(count, 6)),
            length=np.array([petal[1] for petal in plan]) * (1 + easel.jitter(count, 0.04)),
            half_width=np.array([petal[2] for petal in plan]) * (0.85 + 0.35 * species.body.breadth),
            base=np.full(count, 0.02),
            whorl=np.zeros(count, np.int64),
            depth=1 + easel.jitter(count, 0.04),
        )
        paint = _role_paint(species, role)
        PetalPainter(easel, petals, species.body.shape, paint=paint, pose=pose).paint(behind=False)
    paint_center(easel, species, pose)


def _role_paint(species: Species, role: str) -> Paint:
    """The upper petals of a pansy and the lip of an orchid wear the species' second color."""
    paint, colors = _paint_of(species), species.palette
    if role == "upper" or (role == "lip" and species.body.petals == 6):
        contrast = mix(colors.marking, colors.petal, 0.18)
        tip = mix(contrast, colors.petal, 0.3)
        return replace(paint, petal=contrast, tip=tip, strengths=Marking(0.2, veins=0.4))
    if role == "sepal":
        return replace(paint, petal=scaled(colors.petal, 0.93), tip=colors.petal, strengths=Marking(0.1, veins=0.4))
    return paint


def _spike(easel: Easel, species: Species, pose: Pose) -> None:
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
    _florets(easel, species, placed[seen], outward[seen], scale[seen], radius=0.27 * pose.radius)


def _buds(easel: Easel, species: Species, points: Points, radius: float) -> None:
    green = mix(species.leaf, species.palette.petal, 0.45)
    for share, (x, y, _) in zip(np.linspace(1, 0.45, len(points)), points.tolist(), strict=True):
        easel.dot(x, y + 2, 0.062 * radius * share, scaled(green, 0.6), flat=1.4)
        easel.dot(x, y, 0.055 * radius * share, green, flat=1.4)


def _florets(easel: Easel, species: Species, points: Points, outward: Points, scale: Points, *, radius: float) -> None:
    """Paint florets of `radius` pixels × scale at points (N, 3), the farthest first, each lit as it faces."""
    images = _floret_images(easel, species, radius)
    near = 0.92 + 0.08 * np.clip(outward[:, 2], 0, 1)
    brightness = easel.sun.on(outward) * (1 + easel.jitter(len(points), 0.10)) * near
    for index in np.argsort(points[:, 2]):
        right, down, towards = outward[index]
        facing = 0 if towards >= 0.80 else 1 + int(np.floor(np.arctan2(right, -down) / (2 * pi) * 6 + 0.5)) % 6
        image = images[facing][int(np.clip((brightness[index] - 0.68) * 8, 0, 2))]
        if scale[index] < 0.95:
            side = max(round(image.width * float(scale[index])), 4)
            image = image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=1.0)
        left, top = (round(float(at) - image.width / 2) for at in points[index, :2])
        if -image.width < left < easel.image.width and -image.height < top < easel.image.height:
            easel.image.alpha_composite(image, (max(left, 0), max(top, 0)), (max(-left, 0), max(-top, 0)))


def _floret_images(easel: Easel, species: Species, radius: float) -> list[list[Image.Image]]:
    """A floret facing us (first) and outwards in six directions, each in three strengths of light."""
    side = max(round(2 * FLORET * radius), 6)
    spin = float(easel.rng.random()) * 72
    images = []
    for facing in range(7):
        small = replace(easel, image=Image.new("RGBA", (side, side)))
        tilt = 52.0 if facing else 8.0
        _open_flower(small, species, Pose(side / 2, side / 2, radius, tilt, 60.0 * (facing - 1), spin + 31 * facing))
        dimmed = ([round(value * level) for value in range(256)] for level in (0.78, 0.90, 1.0))
        images.append([small.image.point(table * 3 + list(range(256))) for table in dimmed])
    return images

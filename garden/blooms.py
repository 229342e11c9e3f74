"""Single flowers: whorls, spirals and faces of petals."""

from dataclasses import replace
from math import pi

import numpy as np

from garden.color import mix, scaled
from garden.drawing import Easel, PetalPainter, Petals
from garden.forms import Heart, Shape
from garden.hearts import paint_heart
from garden.petals import Paint
from garden.species import Marking, Species
from garden.view import GOLDEN_ANGLE, Pose

SEPAL = Shape(0.35, 1.0, fold=0.3)


def paint_of(species: Species) -> Paint:
    """What the species' petals are painted with."""
    colors = species.palette
    back = mix(colors.petal, (214, 220, 178), 0.28)
    return Paint(colors.throat, colors.petal, colors.tip, colors.marking, back, species.marking)


def paint_ring(easel: Easel, species: Species, pose: Pose) -> None:
    """Paint a flower of one or more whorls: sepals, petals facing us, the heart, petals before the heart."""
    body = species.body
    if pose.tilt > 40 or body.half_width * body.petals < 2.4:
        _sepals(easel, species, pose)
    painter = PetalPainter(easel, whorls(easel, species), body.shape, paint=paint_of(species), pose=pose)
    painter.paint(behind=False)
    paint_heart(easel, species, pose)
    painter.paint(behind=True)


def whorls(easel: Easel, species: Species) -> Petals:
    """Petals of an open flower, whorl by whorl from the outermost, every one a little different."""
    body, rounds = species.body, species.body.form.whorls
    split = rounds == 2 and body.petals == 6  # lilies and tulips: two whorls of three
    each = body.petals // 2 if split else body.petals
    whorl = np.repeat(np.arange(rounds), each)
    count = len(whorl)
    place = np.tile(np.arange(each), rounds) + 0.5 * whorl
    inner = 0.0 if split else 1.0
    base = 0.55 * body.disc if body.form.hearts in (Heart.DISC, Heart.FILAMENTS) else 0.03
    return Petals(
        azimuth=place * 2 * pi / each + easel.jitter(count, 0.22 / each),
        elevation=np.radians(body.elevation + 16 * inner * whorl + easel.jitter(count, 5)),
        length=(1 - base) * (1 - 0.17 * inner * whorl) * (0.96 + easel.jitter(count, 0.05)),
        half_width=body.half_width * (1 - 0.12 * inner * whorl) * (1 + easel.jitter(count, 0.06)),
        base=np.full(count, base),
        whorl=whorl,
        depth=1 - 0.05 * whorl + easel.jitter(count, 0.035),
    )


def paint_spiral(easel: Easel, species: Species, pose: Pose) -> None:
    """Paint a full flower, its petals at the golden angle, smaller and steeper towards the middle."""
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
    painter = PetalPainter(easel, petals, body.shape, paint=paint_of(species), pose=pose)
    painter.paint(behind=False)
    painter.paint(behind=True)


# Petals of a flower with a left and a right: azimuth in degrees (90 is down), length, half width, colour role.
_PANSY = ((-118, 0.92, 0.56, "upper"), (-62, 0.92, 0.56, "upper"), (172, 0.88, 0.50, "side"), (8, 0.88, 0.50, "side"),
          (90, 0.95, 0.62, "lip"))  # fmt: skip
_ORCHID = ((-90, 0.95, 0.26, "sepal"), (145, 0.98, 0.25, "sepal"), (35, 0.98, 0.25, "sepal"),
           (-168, 0.97, 0.46, "side"), (-12, 0.97, 0.46, "side"), (90, 0.66, 0.40, "lip"))  # fmt: skip


def paint_face(easel: Easel, species: Species, pose: Pose) -> None:
    """Paint a flower with a left and a right, such as a pansy (5 petals) or an orchid (6), from the back forwards."""
    pose = Pose(pose.x, pose.y, pose.radius, pose.tilt, pose.lean * 0.6, 24 * (easel.rng.random() - 0.5))
    for role in ("sepal", "upper", "side", "lip"):
        plan = [petal for petal in (_PANSY if species.body.petals == 5 else _ORCHID) if petal[3] == role]
        if plan:
            petals = _planned(easel, species, plan)
            PetalPainter(easel, petals, species.body.shape, paint=_role_paint(species, role), pose=pose).paint(
                behind=False
            )
    paint_heart(easel, species, pose)


def _planned(easel: Easel, species: Species, plan: list[tuple[int, float, float, str]]) -> Petals:
    count = len(plan)
    return Petals(
        azimuth=np.radians([float(petal[0]) for petal in plan]) + easel.jitter(count, 0.06),
        elevation=np.radians(6 + easel.jitter(count, 6)),
        length=np.array([petal[1] for petal in plan]) * (1 + easel.jitter(count, 0.04)),
        half_width=np.array([petal[2] for petal in plan]) * (0.85 + 0.35 * species.body.depth),
        base=np.full(count, 0.02),
        whorl=np.zeros(count, np.int64),
        depth=1 + easel.jitter(count, 0.04),
    )


def _role_paint(species: Species, role: str) -> Paint:
    """The upper petals of a pansy and the lip of an orchid wear the species' second colour."""
    paint = paint_of(species)
    colors = species.palette
    contrast = mix(colors.marking, colors.petal, 0.18)
    if role == "upper" or (role == "lip" and species.body.petals == 6):
        tip = mix(contrast, colors.petal, 0.3)
        return replace(paint, petal=contrast, tip=tip, strengths=Marking(0.2, veins=0.4))
    if role == "sepal":
        return replace(paint, petal=scaled(colors.petal, 0.93), tip=colors.petal, strengths=Marking(0.1, veins=0.4))
    return paint


def _sepals(easel: Easel, species: Species, pose: Pose) -> None:
    green = species.leaf
    paint = Paint(
        scaled(green, 0.7), green, scaled(green, 1.1), scaled(green, 0.7), scaled(green, 0.8), Marking(veins=0.4)
    )
    count = 5
    petals = Petals(
        azimuth=(np.arange(count) + 0.5) * 2 * pi / count + easel.jitter(count, 0.1),
        elevation=np.radians(np.minimum(species.body.elevation, 50) - 6 + easel.jitter(count, 6)),
        length=np.full(count, 0.46), half_width=np.full(count, 0.12), base=np.full(count, 0.05),
        whorl=np.zeros(count, np.int64), depth=np.full(count, 0.85),
    )  # fmt: skip
    PetalPainter(easel, petals, SEPAL, paint=paint, pose=pose).paint(behind=False)

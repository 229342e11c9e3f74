"""Stems, leaves and blades of grass."""

from math import cos, radians, sin

import numpy as np
from PIL import Image, ImageDraw

from garden.catalog import SHAPES, Marking, Shape
from garden.color import RGB, mix, scaled, whole
from garden.easel import Easel, Points, Pose
from garden.petals import BEFORE, BESIDE, BEYOND, Paint, PetalLight, paste_petal, petal_images
from garden.species import Species

# Half width to length.
LEAF_WIDTHS = {
    "oval": 0.30, "pointed": 0.26, "spoon": 0.24, "lance": 0.17, "ribbon": 0.09, "strap": 0.16, "round": 0.46,
}  # fmt: skip
LEAF_DETAIL = 0.45  # pixels of a leaf's texture to one of the picture: leaves are large and plain


def leaf_image(
    kind: str, green: RGB, length: float, *, slant: tuple[float, float], rng: np.random.Generator
) -> Image.Image:
    """One leaf as an RGBA picture; length in pixels; slant: how far light goes along and across it, in [-1, 1]."""
    base = SHAPES[kind]
    shape = Shape(base.taper, max(base.tip, 0.6), fold=0.5, curl=0.2, bend=0.5 * (rng.random() - 0.5))
    marks = Marking(veins=0.6) if kind in ("ribbon", "strap") else Marking(feather=0.9)
    vein = mix(green, (226, 236, 170), 0.38)
    paint = Paint(scaled(green, 0.75), green, scaled(green, 1.06), vein, scaled(green, 0.8), marks)
    ones = np.ones(1, np.float32)
    light = PetalLight(ones, ones * np.float32(slant[0]), ones * np.float32(slant[1]), np.zeros(1, bool))
    width = 2 * BESIDE * LEAF_WIDTHS[kind] * length
    size = (max(round(length * (1 + BEFORE + BEYOND)), 8), max(round(width), 8))
    return petal_images(shape, paint, light, size, rng)[0]


def paint_leaf(easel: Easel, kind: str, green: RGB, *, root: Points, angle: float, length: float) -> None:
    """Paint a leaf from `root`; angle: degrees clockwise from "right"; length in pixels."""
    direction = np.array([cos(radians(angle)), sin(radians(angle)), 0.0])
    side = np.array([-direction[1], direction[0], 0.0])
    slant = float(easel.sun.slant(direction)), float(easel.sun.slant(side))
    image = leaf_image(kind, green, LEAF_DETAIL * length, slant=slant, rng=easel.rng)
    narrow = LEAF_WIDTHS[kind] * (0.55 + 0.45 * easel.rng.random())
    paste_petal(easel.image, image, root[:2], direction[:2] * length, side[:2] * narrow * length)


def paint_stem(easel: Easel, species: Species, pose: Pose) -> None:
    """Paint the stem below a flower, with its leaves: it leaves the flower backwards and then falls to the ground."""
    away = -pose.axes[2][:2]
    root = np.array([pose.x, pose.y]) + away * 0.06 * pose.radius
    fall = easel.image.height * 1.05 - pose.y
    foot = np.array(
        [pose.x + 0.35 * fall * (easel.rng.random() - 0.5) + away[0] * pose.radius, easel.image.height * 1.06]
    )
    bend = root + away * pose.radius * 1.1 + np.array([0.0, 0.25 * pose.radius])
    share = np.linspace(0, 1, 16)[:, None]
    line = root * (1 - share) ** 2 + bend * 2 * share * (1 - share) + foot * share**2
    width = 0.075 * pose.radius
    easel.stroke(line, width, scaled(species.leaf, 0.62))
    easel.stroke(line - 0.16 * width, 0.62 * width, scaled(species.leaf, 0.92))
    easel.stroke(line - 0.22 * width, 0.24 * width, scaled(species.leaf, 1.2))
    for number in range(2 + int(easel.rng.integers(2))):
        at = line[min(5 + 4 * number + int(easel.rng.integers(3)), 15)]
        side = -1 if (number + int(pose.spin)) % 2 else 1
        angle = -90 + side * (35 + 45 * easel.rng.random())
        green, length = scaled(species.leaf, 0.8 + 0.3 * easel.rng.random()), species.body.leaf_length * pose.radius
        paint_leaf(easel, species.body.leaf, green, root=at, angle=angle, length=length)


def paint_rosette(easel: Easel, species: Species, pose: Pose) -> None:
    """Paint leaves all round under a flower that is seen from above."""
    count = 4 + int(easel.rng.integers(4))
    turn, middle = 360 * easel.rng.random(), np.array([pose.x, pose.y])
    for number in range(count):
        angle = turn + 360 * number / count + 30 * (easel.rng.random() - 0.5)
        length = pose.radius * (1.05 + 0.4 * easel.rng.random()) * min(species.body.leaf_length, 1.25)
        green = scaled(species.leaf, 0.62 + 0.3 * easel.rng.random())
        paint_leaf(easel, species.body.leaf, green, root=middle, angle=angle, length=length)


def paint_grass(image: Image.Image, count: int, *, height: float, green: RGB, rng: np.random.Generator) -> None:
    """Draw blades of grass from the lower edge; height: of the tallest, in pixels."""
    draw, size = ImageDraw.Draw(image), image.size
    throw = rng.random((count, 5))
    for root, tall, lean, tone, thick in throw.tolist():
        x, rise = root * size[0], height * (0.45 + 0.55 * tall)
        tip = x + (lean - 0.5) * rise * 0.8
        wide = (0.012 + 0.016 * thick) * size[0]
        middle = x + (tip - x) * 0.35
        foot, waist = size[1] + 2, size[1] - rise * 0.55
        blade = [
            (x - wide, foot),
            (middle - 0.7 * wide, waist),
            (tip, size[1] - rise),
            (middle + 0.7 * wide, waist),
            (x + wide, foot),
        ]
        color = scaled(green, 0.55 + 0.65 * tone)
        draw.polygon(blade, fill=whole(color))

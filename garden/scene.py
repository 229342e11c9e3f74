"""One picture of one specimen: its pose, its company, its background, its light, and the lens."""

from dataclasses import replace
from math import cos, radians, sin

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from garden.backdrops import FROM_ABOVE, FROM_THE_SIDE, clouds
from garden.catalog import Head
from garden.color import mix, oklch, scaled
from garden.easel import Easel, Pose, Sun
from garden.flowers import paint_flower
from garden.greenery import paint_grass, paint_leaf, paint_rosette, paint_stem
from garden.species import Species, species_of

SUPERSAMPLED = 2  # the main flower is drawn this much larger, then reduced


def draw_specimen(seed: int, species: int, specimen: int, *, size: int = 320) -> Image.Image:
    """An RGB picture, size × size, of the specimen-th flower of the species-th species sown with `seed` (from 0).

    Depends on these four numbers and on Pillow's version alone.
    """
    rng = np.random.default_rng([seed, species, specimen])
    kind = _individual(species_of(seed, species), rng)
    sun = _sun(rng)
    above = kind.body.form.tilt[0] < 30 and rng.random() < 0.22
    backdrops = FROM_ABOVE if above else FROM_THE_SIDE
    image = backdrops[int(rng.integers(len(backdrops)))](size, rng)
    main = _pose(kind, size, above, rng)
    if rng.random() < 0.36:
        company = _company(kind, main, size, sun, rng, above=above)
        image.paste(company, (0, 0), company)
    near = _plant(kind, main, size * SUPERSAMPLED, sun, rng, above=above)
    image = _shadowed(image, near, sun, 0.55 if above else 0.18)
    image.paste(near, (0, 0), near)
    if rng.random() < 0.22:
        image = _occluded(image, sun, rng)
    return _photographed(image, sun, rng)


def _individual(kind: Species, rng: np.random.Generator) -> Species:
    """This specimen's own build and shade, close to its species': how far it has opened, how broad its petals are."""
    open_, broad, heart, tone, fade = (2 * rng.random(5) - 1).tolist()
    body = replace(
        kind.body,
        elevation=kind.body.elevation + 7 * open_,
        half_width=kind.body.half_width * (1 + 0.09 * broad),
        disc=kind.body.disc * (1 + 0.10 * heart),
    )
    old = kind.palette
    petal, tip, throat = (scaled(color, 1 + 0.06 * tone) for color in (old.petal, old.tip, old.throat))
    petal = mix(petal, tip, 0.14 * (1 + fade))
    return replace(kind, body=body, palette=replace(old, petal=petal, tip=tip, throat=throat))


def _sun(rng: np.random.Generator) -> Sun:
    """Light from above left or right, never from below."""
    angle, height = radians(-90 + 150 * (rng.random() - 0.5)), radians(28 + 37 * rng.random())
    return Sun((cos(angle) * cos(height), sin(angle) * cos(height), sin(height)))


def _pose(kind: Species, size: int, above: bool, rng: np.random.Generator) -> Pose:
    form = kind.body.form
    x, y, large, tilted, leaning, spun = rng.random(6).tolist()
    low, high = (0.0, 22.0) if above else form.tilt
    upright = form.head is Head.SPIKE
    radius = size * (0.40 if upright else 0.36) * (0.74 + 0.42 * large)
    drop = 0.0 if above or upright else -0.05
    return Pose(
        x=size * (0.5 + 0.20 * (x - 0.5)),
        y=size * (0.5 + drop + 0.16 * (y - 0.5)),
        radius=radius,
        tilt=low + (high - low) * tilted,
        lean=(360 if above else 24 if low > 60 else 110) * (leaning - 0.5),
        spin=360 * spun,
    )


def _plant(kind: Species, pose: Pose, side: int, sun: Sun, rng: np.random.Generator, *, above: bool) -> Image.Image:
    """The main flower with stem and leaves, drawn `SUPERSAMPLED` times too large and reduced."""
    easel = Easel(Image.new("RGBA", (side, side)), sun, rng)
    x, y, radius = (length * SUPERSAMPLED for length in (pose.x, pose.y, pose.radius))
    pose = replace(pose, x=x, y=y, radius=radius)
    _grow(easel, kind, pose, above=above)
    return easel.image.reduce(SUPERSAMPLED)


def _grow(easel: Easel, kind: Species, pose: Pose, *, above: bool) -> None:
    if above:
        paint_rosette(easel, kind, pose)
    else:
        paint_stem(easel, kind, pose)
    paint_flower(easel, kind, pose)


def _company(kind: Species, main: Pose, side: int, sun: Sun, rng: np.random.Generator, *, above: bool) -> Image.Image:
    """One to three more flowers of the same kind, smaller and out of focus behind the main one."""
    easel = Easel(Image.new("RGBA", (side, side)), sun, rng)
    for _ in range(1 + int(rng.integers(3))):
        angle, far, large, tilted = rng.random(4).tolist()
        radius = main.radius * (0.40 + 0.35 * large)
        away = main.radius * 0.75 + radius * (0.6 + 0.5 * far)
        turn = radians(360 * angle)
        low, high = (0.0, 25.0) if above else kind.body.form.tilt
        x, y = main.x + away * cos(turn), main.y + away * sin(turn)
        pose = replace(main, x=x, y=y, radius=radius, tilt=low + (high - low) * tilted)
        _grow(easel, kind, pose, above=above)
    return easel.image.filter(ImageFilter.BoxBlur(side / 320 * (0.6 + 2.6 * rng.random())))


def _shadowed(image: Image.Image, plant: Image.Image, sun: Sun, depth: float) -> Image.Image:
    """The plant's soft shadow on what lies behind it, away from the sun."""
    side = image.width
    small = plant.getchannel("A").resize((side // 4 + 1, side // 4 + 1), Image.Resampling.BOX)
    soft = small.filter(ImageFilter.BoxBlur(side / 90)).resize(image.size, Image.Resampling.BICUBIC)
    shift = (int(-sun.direction[0] * side * 0.05), int(-sun.direction[1] * side * 0.06))
    shadow = Image.new("L", image.size)
    shadow.paste(soft, shift)
    image.paste((14, 16, 20), (0, 0), shadow.point([round(value * depth) for value in range(256)]))
    return image


def _occluded(image: Image.Image, sun: Sun, rng: np.random.Generator) -> Image.Image:
    """A leaf or blades of grass before the lens, out of focus, over a corner or the lower edge."""
    side = image.width
    layer = Image.new("RGBA", image.size)
    green = oklch(0.45 + 0.2 * float(rng.random()), 0.10, 115 + 35 * float(rng.random()))
    if rng.random() < 0.5:
        height = side * (0.35 + 0.3 * float(rng.random()))
        paint_grass(layer, 4 + int(rng.integers(4)), height=height, green=green, rng=rng)
    else:
        left = rng.random() < 0.5
        root = np.array([-0.05 * side if left else 1.05 * side, side * (0.5 + 0.5 * rng.random())])
        angle = -40 * rng.random() if left else 180 + 40 * rng.random()
        length = side * (0.30 + 0.22 * rng.random())
        paint_leaf(Easel(layer, sun, rng), "oval", green, root=root, angle=angle, length=length)
    layer = layer.filter(ImageFilter.BoxBlur(side / 320 * (1.5 + 3 * rng.random())))
    image.paste(layer, (0, 0), layer)
    return image


def _photographed(image: Image.Image, sun: Sun, rng: np.random.Generator) -> Image.Image:
    """The picture as a camera takes it: uneven light, color of the light, exposure, focus and grain."""
    side = image.width
    warm, exposure, contrast, blur, grain = rng.random(5).tolist()
    image = ImageChops.multiply(image, _falling_light(side, sun, rng))
    image = image.point(_development(warm, exposure, contrast))
    if blur < 0.3:
        image = image.filter(ImageFilter.BoxBlur(side / 320 * (0.25 + 3 * (0.3 - blur))))
    amount = 1 + int(4 * grain * grain)
    noise = rng.integers(-amount, amount + 1, (2, side, side), dtype=np.int8)
    pixels = np.asarray(image, np.int16) + (noise[0] + noise[1])[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _falling_light(side: int, sun: Sun, rng: np.random.Generator) -> Image.Image:
    """Brightness over the picture: stronger towards the sun, weaker in the corners, sometimes dappled."""
    line = np.linspace(-1, 1, 24)
    x, y = line[None, :], line[:, None]
    level = 243 + 22 * (x * sun.direction[0] + y * sun.direction[1]) - 17 * (x * x + y * y)
    grey = Image.fromarray(np.clip(level, 0, 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    if rng.random() < 0.25:
        dapple = clouds(side, (5, 12), rng).point([min(165 + value // 2, 255) for value in range(256)])
        grey = ImageChops.multiply(grey, dapple)
    return Image.merge("RGB", [grey] * 3)


def _development(warm: float, exposure: float, contrast: float) -> list[int]:
    """Table (768) of what becomes of each red, green and blue value; every argument in [0, 1]."""
    warmth = 0.16 * (warm - 0.5)
    value = np.arange(256) / 255
    curves = []
    for gain in (1 + warmth, 1 + 0.15 * warmth, 1 - 1.1 * warmth):
        light = np.clip(value * gain * (1.03 + 0.28 * (exposure - 0.42)), 0, 1)
        bent = light * light * (3 - 2 * light)
        light = light + (0.10 + 0.30 * contrast) * (bent - light)
        curves += [int(level) for level in np.floor(light * 255 + 0.5)]
    return curves

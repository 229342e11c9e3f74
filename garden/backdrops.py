"""What lies behind the flowers: foliage out of focus, sky, meadow, soil, stone, shade, a wall."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from garden.color import RGB, mix, oklch, scaled, whole
from garden.greenery import paint_grass

Painter = Callable[[int, np.random.Generator], Image.Image]


def clouds(side: int, grains: tuple[int, ...], rng: np.random.Generator) -> Image.Image:
    """Soft random spots in grey (mode L), coarse to fine: `grains` are numbers of spots across."""
    whole_image = Image.new("L", (side, side), 128)
    share = 0.62
    for grain in grains:
        spots = Image.fromarray(rng.integers(0, 256, (grain, grain), dtype=np.uint8))
        layer = spots.resize((side, side), Image.Resampling.BICUBIC)
        whole_image = Image.blend(whole_image, layer, share)
        share *= 0.55
    return whole_image


def toned(grey: Image.Image, colors: tuple[RGB, ...]) -> Image.Image:
    """Grey turned into color along a row of colors, dark to light."""
    stops = np.linspace(0, 255, len(colors))
    table = [np.interp(np.arange(256), stops, [color[band] for color in colors]) for band in range(3)]
    return Image.merge("RGB", [grey] * 3).point([round(float(value)) for band in table for value in band])


def gradient(side: int, top: RGB, bottom: RGB) -> Image.Image:
    """From one color at the top to another at the bottom."""
    column = Image.linear_gradient("L").resize((side, side), Image.Resampling.BILINEAR)
    return toned(column, (top, bottom))


def _bokeh(
    image: Image.Image, count: int, colors: tuple[RGB, ...], sizes: tuple[float, float], rng: np.random.Generator
) -> None:
    """Discs of light out of focus, brighter at the rim; sizes: radii as shares of the side."""
    side = image.width
    throw = rng.random((count, 5))
    for x, y, large, opaque, tone in throw.tolist():
        radius = side * (sizes[0] + (sizes[1] - sizes[0]) * large * large)
        reach = int(radius) + 3
        color = whole(colors[int(tone * len(colors))])
        disc = Image.new("L", (2 * reach, 2 * reach))
        draw = ImageDraw.Draw(disc)
        strength = int(30 + 95 * opaque)
        draw.ellipse(
            (2, 2, 2 + 2 * radius, 2 + 2 * radius),
            fill=strength,
            outline=min(strength + 40, 255),
            width=max(int(radius / 14), 1),
        )
        image.paste(color, (int(x * side) - reach, int(y * side) - reach), disc)


def foliage(side: int, rng: np.random.Generator) -> Image.Image:
    """Leaves far out of focus, with lights between them."""
    hue = 115 + 40 * float(rng.random())
    depth = 0.05 * float(rng.random())
    greens = (
        oklch(0.22 + depth, 0.05, hue + 10),
        oklch(0.38 + depth, 0.08, hue),
        oklch(0.60 + depth, 0.12, hue - 10),
        oklch(0.80, 0.11, hue - 20),
    )
    image = toned(clouds(side, (4, 7, 13), rng), greens)
    _bokeh(image, 26, (greens[2], greens[3], oklch(0.93, 0.08, 105)), (0.02, 0.10), rng)
    return image.filter(ImageFilter.BoxBlur(side / 160))


def shade(side: int, rng: np.random.Generator) -> Image.Image:
    """A deep, almost black shadow that lets the flower shine."""
    hue = 360 * float(rng.random())
    return toned(
        clouds(side, (3, 5), rng), (oklch(0.12, 0.02, hue), oklch(0.22, 0.035, hue), oklch(0.36, 0.05, hue + 30))
    )


def sky(side: int, rng: np.random.Generator) -> Image.Image:
    """Open sky with thin clouds."""
    hue = 235 + 25 * float(rng.random())
    height = 0.08 * float(rng.random())
    image = gradient(side, oklch(0.60 + height, 0.12, hue), oklch(0.86 + height, 0.05, hue - 15))
    veil = clouds(side, (3, 6, 11), rng).point([min(max((value - 118) * 4, 0), 215) for value in range(256)])
    image.paste((250, 249, 246), (0, 0), veil)
    return image


def meadow(side: int, rng: np.random.Generator) -> Image.Image:
    """A meadow up to a pale horizon, other flowers as colored blurs, grass nearer."""
    hue = 118 + 26 * float(rng.random())
    far, near = oklch(0.90, 0.07, hue - 15), oklch(0.50, 0.12, hue)
    image = ImageChops.multiply(
        gradient(side, far, near), toned(clouds(side, (5, 14), rng), ((165, 165, 165), (255, 255, 255)))
    )
    blossom = tuple(oklch(0.78, 0.15, 360 * float(rng.random())) for _ in range(3))
    _bokeh(image, 22, (*blossom, far), (0.008, 0.04), rng)
    paint_grass(image, 46, height=0.75 * side, green=oklch(0.66, 0.14, hue), rng=rng)
    return image.filter(ImageFilter.BoxBlur(side / 110))


def soil(side: int, rng: np.random.Generator) -> Image.Image:
    """Bare earth with crumbs and small stones."""
    hue = 45 + 25 * float(rng.random())
    browns = (oklch(0.17, 0.02, hue), oklch(0.33, 0.045, hue), oklch(0.47, 0.055, hue), oklch(0.62, 0.05, hue))
    image = toned(clouds(side, (5, 11, 40, 110), rng), browns)
    draw = ImageDraw.Draw(image)
    for across, down, large, tone in rng.random((34, 4)).tolist():
        radius = side * (0.006 + 0.026 * large**3)
        color = scaled(mix(browns[2], (168, 160, 150), tone), 0.75 + 0.4 * tone)
        x, y = across * side, down * side
        fall, dark = side / 200, whole(scaled(browns[0], 0.8))
        draw.ellipse((x - radius + fall / 2, y - 0.7 * radius + fall, x + radius + fall, y + radius + fall), fill=dark)
        draw.ellipse((x - radius, y - 0.8 * radius, x + radius, y + 0.8 * radius), fill=whole(color))
        draw.ellipse((x - 0.7 * radius, y - 0.7 * radius, x + 0.3 * radius, y), fill=whole(scaled(color, 1.15)))
    return image.filter(ImageFilter.BoxBlur(side / 400))


def stone(side: int, rng: np.random.Generator) -> Image.Image:
    """A weathered wall or slab, grey to ochre, with lichen."""
    hue = 360 * float(rng.random())
    greys = (oklch(0.42, 0.012, hue), oklch(0.58, 0.016, hue), oklch(0.70, 0.02, hue + 40), oklch(0.84, 0.015, hue))
    image = toned(clouds(side, (3, 9, 34, 120), rng), greys)
    lichen = clouds(side, (6, 20), rng).point([min(max((value - 158) * 6, 0), 130) for value in range(256)])
    image.paste(whole(oklch(0.72, 0.09, 105)), (0, 0), lichen)
    return image.filter(ImageFilter.BoxBlur(side / 400))


def plaster(side: int, rng: np.random.Generator) -> Image.Image:
    """A plain, softly lit wall in a pale color."""
    hue = 360 * float(rng.random())
    light = 0.72 + 0.2 * float(rng.random())
    wall = (oklch(light - 0.10, 0.035, hue), oklch(light, 0.035, hue + 8), oklch(light + 0.06, 0.02, hue))
    return toned(clouds(side, (3, 4), rng), wall)


# From above (a flower bed) or from the side (a stem can be seen): which of the two each backdrop allows.
FROM_ABOVE: tuple[Painter, ...] = (soil, stone, shade, foliage)
FROM_THE_SIDE: tuple[Painter, ...] = (foliage, meadow, sky, foliage, shade, meadow, plaster, stone)

"""Colors by lightness, chroma and hue (OKLCH), used as sRGB."""

from math import cos, radians, sin

RGB = tuple[float, float, float]


def oklch(lightness: float, chroma: float, hue: float) -> RGB:
    """sRGB in [0, 255] of an OKLCH color: lightness [0, 1], chroma [0, about 0.3], hue in degrees.

    Equal steps look equal here, so petals of any hue keep the same depth. Source: Ottosson 2020, "A perceptual
    color space for image processing".
    """
    a, b = chroma * cos(radians(hue)), chroma * sin(radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        _gamma(4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short),
        _gamma(-1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short),
        _gamma(-0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short),
    )


def _gamma(linear: float) -> float:
    linear = min(max(linear, 0.0), 1.0)
    return 255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)


def mix(one: RGB, other: RGB, share: float) -> RGB:
    """`one` with `share` [0, 1] of `other` in it."""
    red, green, blue = (start + (end - start) * share for start, end in zip(one, other, strict=True))
    return red, green, blue


def scaled(color: RGB, brightness: float) -> RGB:
    """The color in stronger or weaker light, kept within [0, 255]."""
    red, green, blue = (min(part * brightness, 255.0) for part in color)
    return red, green, blue


def whole(color: RGB) -> tuple[int, int, int]:
    """The color as Pillow draws it: whole numbers in [0, 255]."""
    red, green, blue = (min(max(round(part), 0), 255) for part in color)
    return red, green, blue

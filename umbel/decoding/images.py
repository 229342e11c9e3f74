"""What is seen of a picture file: upright, in sRGB; and what is told and handed out of it.

Nothing that its owner did not mean to publish travels along: EXIF, GPS, comments, texts.
"""

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image
from umbel_files.kinds import MEDIA_TYPES, Kind

from umbel.base.errors import CorruptImage, ImageTooSmall
from umbel.base.types import Box, ImageInfo
from umbel.decoding import jpeg, png
from umbel.decoding.color import to_srgb
from umbel.decoding.limits import Limits
from umbel.decoding.opening import NEGATIVE, UNSIGNED, checked_kind, loaded, open_image, picture_errors

Color = Literal["srgb", "as_stored"]

ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height
ORIENTED = (Kind.JPEG, Kind.PNG, Kind.WEBP, Kind.AVIF)  # of the others, the decoder turns what is to be turned
CUT_SHORT = "The file is damaged or cut short; what is missing of the picture is gray."
SMALLEST_SHARE = 1e-5  # of a side: less of it is below any `min_side`
# As which a picture is handed out: its own kind where every browser shows it, else one that loses as much or less.
SERVED = {Kind.PNG: Kind.PNG, Kind.WEBP: Kind.WEBP, Kind.GIF: Kind.PNG, Kind.TIFF: Kind.PNG, Kind.BMP: Kind.PNG}


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture as it is seen. size: width and height of the whole; image: RGB, of that size or smaller.

    partial: a part of it is missing, and gray.
    """

    kind: Kind
    image: Image.Image
    size: tuple[int, int]
    partial: bool

    @property
    def info(self) -> ImageInfo:
        return ImageInfo(MEDIA_TYPES[self.kind], *self.size, CUT_SHORT if self.partial else None)


def decode(data: bytes, limits: Limits, *, side: int = 0, color: Color = "srgb", box: Box | None = None) -> Image.Image:
    """The first frame (of HEIC: the main picture) as RGB, upright, in sRGB; transparency over white.

    side: see `loaded`. color: `as_stored` leaves profiles aside. box: only this part, to which `side` applies then.
    Raises ImageError; ImageTooSmall also where the part is below the least side of an image.
    """
    if box is None:
        return see(data, limits, side=side, color=color).image
    share = max(SMALLEST_SHARE, min(box.width, box.height))
    seen = see(data, limits, side=math.ceil(side / share), color=color)
    left, top, right, bottom = corners(box, seen.size)
    if min(right - left, bottom - top) < limits.min_side:
        raise ImageTooSmall(
            f"The box covers {right - left} × {bottom - top} pixels of the picture; each side must have"
            f" {limits.min_side}."
        )
    return seen.image.crop(corners(box, seen.image.size))


def corners(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom in whole pixels of a picture of this size."""
    width, height = size
    right, bottom = min(1.0, box.x + box.width), min(1.0, box.y + box.height)
    return round(box.x * width), round(box.y * height), round(right * width), round(bottom * height)


def see(data: bytes, limits: Limits, *, side: int = 0, color: Color = "srgb") -> Seen:
    """The whole picture as `decode` gives it, and what it is. Raises ImageError."""
    with loaded(data, limits, side) as picture:
        profile = picture.image.info.get("icc_profile") if color == "srgb" else None
        shown = _over_white(picture.image, profile)
        orientation = _orientation(picture.kind, picture.exif)
        turn = TURNS.get(orientation)
        upright = shown if turn is None else shown.transpose(turn)
        return Seen(picture.kind, upright, _turned(picture.size, orientation), picture.partial)


def _orientation(kind: Kind, block: bytes) -> int:
    """What the header's EXIF says; 1, as stored, where it is damaged."""
    if kind not in ORIENTED:
        return 1
    exif = Image.Exif()
    try:
        exif.load(block)
        value = exif.get(ORIENTATION, 1)
    except Exception:  # Pillow's parser raises nearly anything on damaged EXIF
        return 1
    return value if isinstance(value, int) else 1


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    width, height = size
    return (height, width) if orientation in SIDEWAYS else size


def _over_white(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode in ("1", "LA"):
        image = image.convert("L")
    elif image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    shown = to_srgb(image, profile)
    if alpha is None:
        return shown
    shown.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Gray of more than eight bits as L, or as LA where one value is transparent; convert() would clip.

    Numbers above the usual range (65,535; 1 for floating point) are scaled so that the largest is white.
    """
    values = np.asarray(image)
    if image.mode == "I" and image.info.get(UNSIGNED):
        values = values.view(np.uint32)
    values = values.astype(np.float32)
    white = max(1 if image.mode == "F" else 65535, float(values.max()))
    shown = white - values if image.info.get(NEGATIVE) else values
    gray = Image.fromarray((shown * (255.99 / white)).clip(0, 255).astype(np.uint8))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        gray.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return gray


def quick_look(data: bytes, limits: Limits) -> ImageInfo | None:
    """Type and size of a JPEG or PNG whose structure promises that it will decode; None: only decoding can tell.

    Raises ImageError for what is certain: an empty or too large file, too many pixels, a kind that is not taken.
    """
    kind = checked_kind(data, limits)
    if (kind is Kind.JPEG and jpeg.will_decode(data)) or (kind is Kind.PNG and png.will_decode(data)):
        with suppress(CorruptImage), picture_errors(), open_image(kind, data, limits) as image:
            orientation = _orientation(kind, image.info.get("exif") or b"")
            return ImageInfo(MEDIA_TYPES[kind], *_turned(image.size, orientation))
    return None


def inspect(data: bytes, limits: Limits) -> ImageInfo:
    """Type and size of the picture in `data`, of which it is certain that it decodes. Raises ImageError."""
    if info := quick_look(data, limits):
        return info
    return see(data, limits, side=1).info  # a JPEG at an eighth


def write_thumbnail(data: bytes, limits: Limits, out: BinaryIO, side: int = 320) -> None:
    """Write a JPEG of at most `side` pixels on its longer side, upright, without metadata.

    Raises ImageError, OSError.
    """
    small = decode(data, limits, side=side)
    small.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    _write(small, Kind.JPEG, out, quality=85, optimize=True)


def write_published(data: bytes, limits: Limits, out: BinaryIO) -> None:
    """Write the whole picture upright and without any metadata, as what browsers show: see `published_type`.

    Raises ImageError, OSError.
    """
    seen = see(data, limits)
    _write(seen.image, SERVED.get(seen.kind, Kind.JPEG), out, quality=92)


def published_type(media_type: str) -> str:
    """The media type (JPEG, PNG or WebP) as which a picture of this one is handed out."""
    return next((MEDIA_TYPES[SERVED[kind]] for kind in SERVED if MEDIA_TYPES[kind] == media_type), "image/jpeg")


def _write(image: Image.Image, kind: Kind, out: BinaryIO, **options: object) -> None:
    image.info.clear()  # nothing of the source's EXIF, ICC, comments or text chunks may travel along
    image.save(out, kind.upper(), **options)

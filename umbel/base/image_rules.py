"""Opening pictures safely, and handing them out again without what their owner did not mean to publish."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageOps

from umbel.base.errors import (
    CorruptPicture,
    EmptyFile,
    FileTooLarge,
    PictureTooSmall,
    TooManyPixels,
    UmbelError,
    UnsupportedPicture,
)
from umbel.base.settings import Settings

FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}

ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height

# Pillow's own limit is a global that warns first; ours is a setting, checked on the header before any decoding.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """What the header says. Width and height in pixels, as seen: after EXIF orientation."""

    media_type: str
    width: int
    height: int


def looks_like_picture(start: bytes) -> bool:
    """Whether a file that begins with these (at least 12) bytes means to be a JPEG, PNG or WebP, whatever its name."""
    return start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (
        start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    )


@contextmanager
def opened(data: bytes, limits: Settings) -> Iterator[Image.Image]:
    """The picture in `data`, its header read and found within `limits`, its pixels not yet decoded.

    Raises EmptyFile, FileTooLarge, UnsupportedPicture, TooManyPixels, PictureTooSmall; and CorruptPicture for
    whatever goes wrong inside the `with` block while Pillow decodes.
    """
    if not data:
        raise EmptyFile("The file is empty.")
    if len(data) > limits.max_bytes:
        raise FileTooLarge(f"The file has {len(data):,} bytes; at most {limits.max_bytes:,} are taken.")
    try:
        picture = Image.open(io.BytesIO(data), formats=list(FORMATS))
    except Exception as error:  # Pillow's parsers raise nearly anything on hostile headers
        if looks_like_picture(data):
            raise CorruptPicture("The file begins as a picture but is damaged or cut short.") from error
        raise UnsupportedPicture("The file is not a JPEG, PNG or WebP picture.") from error
    with picture:
        width, height = picture.size
        if width * height > limits.max_pixels:
            raise TooManyPixels(
                f"The picture has {width:,} × {height:,} pixels; at most {limits.max_pixels:,} are taken."
            )
        if min(width, height) < limits.min_side:
            raise PictureTooSmall(f"The picture is {width} × {height} pixels; each side must have {limits.min_side}.")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # damaged EXIF and the like: not the picture itself
                yield picture
        except UmbelError:
            raise
        except (Image.DecompressionBombError, MemoryError) as error:
            raise TooManyPixels("The picture needs more memory than is allowed.") from error
        except (
            Exception
        ) as error:  # as with headers: struct.error, zlib.error, SyntaxError, whatever the damage leads to
            reason = str(error).rstrip(".") or type(error).__name__
            raise CorruptPicture(f"The picture cannot be decoded: {reason}.") from error


def upright_rgb(picture: Image.Image) -> Image.Image:
    """The first frame, turned as EXIF asks, as RGB; transparency over white; 16-bit grey scaled to 8."""
    picture.seek(0)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16-bit PNG: convert() would clip at 255 instead of scaling
        picture = picture.point(lambda value: value / 256).convert("L")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")


def inspect(data: bytes, limits: Settings) -> PictureInfo:
    """Type and size of the picture in `data`, from its header alone. Raises as `opened` does."""
    with opened(data, limits) as picture:
        width, height = picture.size
        exif = Image.Exif()
        exif.load(picture.info.get("exif", b""))  # not getexif(), which decodes a whole PNG in search of it
        if exif.get(ORIENTATION, 1) in SIDEWAYS:
            width, height = height, width
        return PictureInfo(FORMATS[picture.format or ""], width, height)


def thumbnail(data: bytes, limits: Settings, side: int = 320) -> bytes:
    """A JPEG of at most `side` pixels on its longer side, upright, without metadata."""
    with opened(data, limits) as picture:
        picture.draft("RGB", (side, side))
        small = upright_rgb(picture)
        small.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
        return _encoded(small, "JPEG", quality=85, optimize=True)


def published(data: bytes, limits: Settings) -> tuple[bytes, str]:
    """The picture re-encoded upright in its own format, without EXIF, GPS or any other metadata; and its type."""
    with opened(data, limits) as picture:
        kind = picture.format or "PNG"
        upright = upright_rgb(picture)
        return _encoded(upright, kind, quality=92), FORMATS[kind]


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.info.clear()  # nothing of the source's EXIF, ICC, comments or text chunks may travel along
    picture.save(out, kind, **options)
    return out.getvalue()

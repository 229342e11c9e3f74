"""Opening pictures safely, and handing them out again without what their owner did not mean to publish."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageOps

from umbel.base.errors import (
    CorruptImage,
    EmptyFile,
    FileTooLarge,
    ImageTooSmall,
    TooManyPixels,
    UmbelError,
    UnsupportedImage,
)
from umbel.base.settings import Settings

FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}

ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height

# Pillow's own limit is a global that warns first; ours is a setting, checked on the header before any decoding.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the header says. Width and height in pixels, as seen: after EXIF orientation."""

    media_type: str
    width: int
    height: int


def looks_like_image(start: bytes) -> bool:
    """Whether a file that begins with these (at least 12) bytes means to be a JPEG, PNG or WebP, whatever its name."""
    return start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (
        start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    )


@contextmanager
def opened(data: bytes, limits: Settings) -> Iterator[Image.Image]:
    """The picture in `data`, its header read and found within `limits`, its pixels not yet decoded.

    Raises EmptyFile, FileTooLarge, UnsupportedImage, TooManyPixels, ImageTooSmall; and CorruptImage for
    whatever goes wrong inside the `with` block while Pillow decodes.
    """
    if not data:
        raise EmptyFile("The file is empty.")
    if len(data) > limits.max_bytes:
        raise FileTooLarge(f"The file has {len(data):,} bytes; at most {limits.max_bytes:,} are taken.")
    try:
        image = Image.open(io.BytesIO(data), formats=list(FORMATS))
    except Exception as error:  # Pillow's parsers raise nearly anything on hostile headers
        if looks_like_image(data):
            raise CorruptImage("The file begins as a picture but is damaged or cut short.") from error
        raise UnsupportedImage("The file is not a JPEG, PNG or WebP picture.") from error
    with image:
        width, height = image.size
        if width * height > limits.max_pixels:
            raise TooManyPixels(
                f"The picture has {width:,} × {height:,} pixels; at most {limits.max_pixels:,} are taken."
            )
        if min(width, height) < limits.min_side:
            raise ImageTooSmall(f"The picture is {width} × {height} pixels; each side must have {limits.min_side}.")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # damaged EXIF and the like: not the picture itself
                yield image
        except UmbelError:
            raise
        except (Image.DecompressionBombError, MemoryError) as error:
            raise TooManyPixels("The picture needs more memory than is allowed.") from error
        except (
            Exception
        ) as error:  # as with headers: struct.error, zlib.error, SyntaxError, whatever the damage leads to
            reason = str(error).rstrip(".") or type(error).__name__
            raise CorruptImage(f"The picture cannot be decoded: {reason}.") from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """The first frame, turned as EXIF asks, as RGB; transparency over white; 16-bit grey scaled to 8."""
    image.seek(0)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit PNG: convert() would clip at 255 instead of scaling
        image = image.point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def inspect(data: bytes, limits: Settings) -> ImageInfo:
    """Type and size of the picture in `data`, from its header alone. Raises as `opened` does."""
    with opened(data, limits) as image:
        width, height = image.size
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))  # not getexif(), which decodes a whole PNG in search of it
        if exif.get(ORIENTATION, 1) in SIDEWAYS:
            width, height = height, width
        return ImageInfo(FORMATS[image.format or ""], width, height)


def thumbnail(data: bytes, limits: Settings, side: int = 320) -> bytes:
    """A JPEG of at most `side` pixels on its longer side, upright, without metadata."""
    with opened(data, limits) as image:
        image.draft("RGB", (side, side))
        small = upright_rgb(image)
        small.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
        return _encoded(small, "JPEG", quality=85, optimize=True)


def published(data: bytes, limits: Settings) -> tuple[bytes, str]:
    """The picture re-encoded upright in its own format, without EXIF, GPS or any other metadata; and its type."""
    with opened(data, limits) as image:
        kind = image.format or "PNG"
        upright = upright_rgb(image)
        return _encoded(upright, kind, quality=92), FORMATS[kind]


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.info.clear()  # nothing of the source's EXIF, ICC, comments or text chunks may travel along
    image.save(out, kind, **options)
    return out.getvalue()

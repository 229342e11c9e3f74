"""Opening pictures by what their bytes are, within limits, and loading what can be had of damaged ones."""

import io
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from umbel_files.kinds import MEDIA_TYPES, START, Kind, kind_of

from umbel.base.errors import (
    CorruptImage,
    EmptyFile,
    FileTooLarge,
    ImageTooSmall,
    TooManyPixels,
    UmbelError,
    UnsupportedImage,
)
from umbel.decoding import jpeg
from umbel.decoding.limits import Limits
from umbel.decoding.png import LONGEST, without_extras

GRAY = 128  # of what is missing
# Camera raws that call themselves TIFF: their pixels are those of the sensor, or a thumbnail comes first.
DNG_VERSION, TIFF_EP, PHOTOMETRIC, SUBFILE, SUBIFDS = 50706, 37398, 262, 254, 330
SENSOR = (32803, 34892)
BITS, PLANAR, SAMPLE_FORMAT = 258, 284, 339
NEGATIVE, UNSIGNED = "negative", "unsigned"  # of gray TIFFs with more than 8 bits: white is 0; numbers have no sign

# Pillow's own limit is a global that warns first; ours is a setting, checked on the header before any decoding.
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_CHUNK = LONGEST


@contextmanager
def picture_errors() -> Iterator[None]:
    """What goes wrong while Pillow opens or decodes, in our own words: CorruptImage, TooManyPixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF and the like: not the picture itself
            yield
    except UmbelError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise TooManyPixels("The picture needs more memory than is allowed.") from error
    except Exception as error:  # struct.error, zlib.error, SyntaxError, whatever the damage leads to
        reason = re.sub(r"\s+", " ", str(error)).strip().rstrip(".") or type(error).__name__
        raise CorruptImage(f"The picture cannot be decoded: {reason}.") from error


def checked_kind(data: bytes, limits: Limits) -> Kind:
    """The kind of the picture in `data`. Raises EmptyFile, FileTooLarge, UnsupportedImage."""
    if not data:
        raise EmptyFile("The file is empty.")
    if len(data) > limits.max_bytes:
        raise FileTooLarge(f"The file has {len(data):,} bytes; at most {limits.max_bytes:,} are taken.")
    kind = kind_of(data[:START])
    if kind is None:
        raise UnsupportedImage(f"The file is no picture of a kind that is taken: {', '.join(MEDIA_TYPES)}.")
    if kind not in MEDIA_TYPES:
        raise unsupported(kind)
    return kind


def unsupported(kind: Kind) -> UnsupportedImage:
    """The error for a picture of a kind that is not taken, which names it."""
    return UnsupportedImage(f"{kind} is not supported yet; taken are {', '.join(MEDIA_TYPES)}.")


@cache
def _opener(kind: Kind) -> Callable[[io.BytesIO], ImageFile.ImageFile]:
    """Pillow's class for a kind, so that no guess of Pillow's comes between: it calls some JPEGs "MPO"."""
    if kind is Kind.HEIC:
        from pi_heif.as_plugin import HeifImageFile  # noqa: PLC0415 - 2 MB that few processes need

        return HeifImageFile
    return {
        Kind.JPEG: JpegImagePlugin.JpegImageFile,
        Kind.PNG: PngImagePlugin.PngImageFile,
        Kind.WEBP: WebPImagePlugin.WebPImageFile,
        Kind.AVIF: AvifImagePlugin.AvifImageFile,
        Kind.GIF: GifImagePlugin.GifImageFile,
        Kind.TIFF: TiffImagePlugin.TiffImageFile,
        Kind.BMP: BmpImagePlugin.BmpImageFile,
    }[kind]


def import_decoders() -> None:
    """Import what Pillow and `_opener` import when they need it, for a process that can open no file later."""
    Image.preinit()
    for kind in MEDIA_TYPES:
        _opener(kind)


def open_image(kind: Kind, data: bytes, limits: Limits) -> ImageFile.ImageFile:
    """The picture, its header read and found within `limits`, its pixels not yet decoded.

    Raises UnsupportedImage, TooManyPixels, ImageTooSmall, and whatever Pillow raises: see `picture_errors`.
    """
    image = _opener(kind)(io.BytesIO(data))
    width, height = image.size
    if width * height > limits.max_pixels:
        raise TooManyPixels(f"The picture has {width:,} × {height:,} pixels; at most {limits.max_pixels:,} are taken.")
    if min(width, height) < limits.min_side:
        raise ImageTooSmall(f"The picture is {width} × {height} pixels; each side must have {limits.min_side}.")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _look_at_tags(image)
    return image


def _look_at_tags(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse what Pillow gets wrong, and note in `info` what it does not apply. Raises UnsupportedImage."""
    tags = image.tag_v2
    thumbnail_first = SUBIFDS in tags and tags.get(SUBFILE) == 1
    if DNG_VERSION in tags or TIFF_EP in tags or tags.get(PHOTOMETRIC) in SENSOR or thumbnail_first:
        raise unsupported(Kind.CAMERA_RAW)
    bits = tags.get(BITS, (1,))
    if len(bits) > 1 and max(bits) > 8 and tags.get(PLANAR) == 2:
        raise UnsupportedImage("TIFF of more than 8 bits a color, color by color, is not supported.")
    image.info[NEGATIVE] = tags.get(PHOTOMETRIC) == 0
    image.info[UNSIGNED] = tags.get(SAMPLE_FORMAT, (1,))[0] == 1


@dataclass(frozen=True, slots=True)
class Loaded:
    """A picture whose pixels are decoded. size: width and height of the whole, `image` may be smaller.

    exif: of the header. partial: a part of the pixels is missing and gray.
    """

    kind: Kind
    image: Image.Image
    size: tuple[int, int]
    exif: bytes
    partial: bool


@contextmanager
def loaded(data: bytes, limits: Limits, side: int = 0) -> Iterator[Loaded]:
    """The picture in `data`, decoded.

    side: a JPEG may be decoded at a fraction of its size at which both sides keep this many pixels; 0: whole.
    What viewers pass over is passed over: damage in what is no part of the picture, and a missing end. Raises
    ImageError.
    """
    kind = checked_kind(data, limits)
    with picture_errors():
        yield _loaded(kind, data, limits, side)


def _loaded(kind: Kind, data: bytes, limits: Limits, side: int) -> Loaded:
    try:
        return _decoded(kind, data, limits, side)
    except (UmbelError, MemoryError):
        raise
    except Exception:  # as above: nearly anything
        data, partial = _mended(kind, data)
        with suppress(Exception):
            return replace(_decoded(kind, data, limits, side), partial=partial)
        if rest := _decoded_rest(kind, data, limits, side):
            return rest
        if kind is Kind.JPEG and (coding := jpeg.unusual_coding(data)):
            raise UnsupportedImage(f"JPEG whose pixels are {coding} is not supported.") from None
        raise


def _decoded(kind: Kind, data: bytes, limits: Limits, side: int, *, partly: bool = False) -> Loaded:
    """partly: what is not decoded is gray. Raises OSError if that is all of it."""
    image = open_image(kind, data, limits)
    size, exif = image.size, image.info.get("exif") or b""
    if side:
        image.draft("RGB", (side, side))
    if partly:
        ground = _plain(image)
        plain = ground.mode, ground.getextrema()
        image.im = ground.im
        image.load()
        if (image.mode, image.getextrema()) == plain:
            raise OSError("nothing of it can be decoded")
    else:
        image.load()
    pixels = image._new(image.im)  # of Pillow's own class: others decode anew at each step
    return Loaded(kind, pixels, size if kind is Kind.JPEG else image.size, exif, partly)


def _mended(kind: Kind, data: bytes) -> tuple[bytes, bool]:
    """The same picture without what decoders trip over and viewers do not; and whether a part of it is missing."""
    if kind is Kind.JPEG:
        return jpeg.mended(data)
    if kind is Kind.PNG:
        return without_extras(data), False
    if kind is Kind.WEBP and len(data) == 7 + int.from_bytes(data[4:8], "little"):
        return data + b"\0", False  # that makes the length even: some encoders count it and do not write it
    return data, False


def _plain(image: Image.Image) -> Image.Image:
    """A picture of the same mode and size that is gray, or has the color of the palette that is nearest to it."""
    if image.mode == "P" and image.palette:
        order, colors = image.palette.getdata()
        palette = np.frombuffer(colors, np.uint8).reshape(-1, len(order))[:, :3].astype(int)
        return Image.new("P", image.size, int(np.abs(palette - GRAY).sum(axis=1).argmin()))
    values = tuple(255 if band == "A" else GRAY for band in image.getbands())
    return Image.new(image.mode, image.size, values if len(values) > 1 else values[0])


_tolerant = threading.Lock()


def _decoded_rest(kind: Kind, data: bytes, limits: Limits, side: int) -> Loaded | None:
    """What can be decoded of a damaged picture, the rest gray; None: nothing can.

    Pillow's switch for this is global. Others that decode meanwhile may profit from it and not be told.
    """
    with _tolerant:
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            return _decoded(kind, data, limits, side, partly=True)
        except (UmbelError, MemoryError):
            raise
        except Exception:  # the first error tells the reason
            return None
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = False

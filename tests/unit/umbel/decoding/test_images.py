"""Pictures are opened safely and published without what their owners did not mean to publish."""

import io
import struct
import zlib
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.images import image_bytes, published, thumbnail
from tests.images import opened as decoded
from umbel.base.errors import (
    CorruptImage,
    EmptyFile,
    FileTooLarge,
    ImageError,
    ImageTooSmall,
    TooManyPixels,
    UnsupportedImage,
)
from umbel.base.settings import Settings
from umbel.base.types import Box
from umbel.decoding.images import CUT_SHORT, decode, inspect

LIMITS = Settings()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode(data, LIMITS))


def encoded(source: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    source.save(out, kind, **options)
    return out.getvalue()


def plain_tiff(gray: np.ndarray, photometric: int) -> bytes:
    """A TIFF of unpacked gray. photometric: 1, zero is black; 0, zero is white."""
    height, width = gray.shape
    values = {256: width, 257: height, 258: 8 * gray.itemsize, 259: 1, 262: photometric, 273: 134, 277: 1, 278: height}
    values[279] = gray.nbytes
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
    directory = struct.pack("<H", len(values)) + entries + bytes(4)
    return (b"II*\0" + struct.pack("<I", 8) + directory).ljust(134, b"\0") + gray.tobytes()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and ends there."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP"])
def test_the_type_is_that_of_the_bytes(kind: str) -> None:
    info = inspect(image_bytes(1, kind=kind), LIMITS)
    assert (info.media_type, info.width, info.height) == (f"image/{kind.lower()}", 96, 64)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EmptyFile),
        (b"GIF89a", CorruptImage),
        (b"<svg/>", UnsupportedImage),
        (b"\xff\x0a rest of a JPEG XL", UnsupportedImage),
        (bytes(LIMITS.max_bytes + 1), FileTooLarge),
        (png_header(20_000, 15_000), TooManyPixels),
        (png_header(10, 1_000), ImageTooSmall),
    ],
)
def test_what_cannot_be_taken_has_its_own_error(data: bytes, error: type[ImageError]) -> None:
    with pytest.raises(error):
        inspect(data, LIMITS)


@given(*[st.floats(0, 1)] * 4)
def test_a_part_is_what_is_cut_out_of_the_picture_as_seen(left: float, right: float, top: float, bottom: float) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways = image_bytes(1, size=(30, 40), kind="PNG", exif=exif)  # seen as 40 × 30
    box = Box(min(left, right), min(top, bottom), abs(right - left), abs(bottom - top))
    edges = [
        round(min(1, share) * side)
        for share, side in ((box.x, 40), (box.y, 30), (box.x + box.width, 40), (box.y + box.height, 30))
    ]
    cut = min(edges[2] - edges[0], edges[3] - edges[1]) >= LIMITS.min_side
    with nullcontext() if cut else pytest.raises(ImageTooSmall, match="The box covers"):
        assert decode(sideways, LIMITS, box=box) == decode(sideways, LIMITS).crop(edges)


def test_of_a_part_a_jpeg_keeps_as_many_pixels_as_of_a_picture_of_that_size() -> None:
    whole = image_bytes(1, size=(1600, 1200), kind="JPEG")
    assert decode(whole, LIMITS, side=100).size == (200, 150)
    assert decode(whole, LIMITS, side=100, box=Box(0.5, 0.5, 0.25, 0.25)).size == (200, 150)


def test_a_webp_may_lack_the_byte_that_makes_its_length_even() -> None:
    whole = image_bytes(1, kind="WEBP", xmp=b"odd")
    assert inspect(whole[:-1], LIMITS) == inspect(whole, LIMITS)


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_what_no_viewer_shows_in_part_is_corrupt(kind: str) -> None:
    whole = image_bytes(1, size=(400, 300), kind=kind)
    with pytest.raises(CorruptImage):
        inspect(whole[: len(whole) * 2 // 3], LIMITS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_of_a_cut_picture_what_is_there_is_seen_and_the_rest_is_gray(kind: str) -> None:
    whole = image_bytes(1, size=(400, 300), kind=kind, **({"interlace": 0} if kind == "GIF" else {}))
    cut = whole[: len(whole) * 2 // 3]
    info = inspect(cut, LIMITS)
    assert (info.width, info.height, info.note) == (400, 300, CUT_SHORT)
    there = np.s_[200:] if kind == "BMP" else np.s_[:100]  # its rows go from below upwards
    assert (pixels(cut)[there] == pixels(whole)[there]).all()


@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.data())
def test_damage_anywhere_is_a_picture_error_or_none(kind: str, data: st.DataObject) -> None:
    broken = bytearray(image_bytes(1, kind=kind))
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ImageError):
        assert pixels(bytes(broken)).ndim == 3


def test_what_only_claims_to_have_pixels_is_corrupt() -> None:
    with pytest.raises(CorruptImage):
        inspect(png_header(6_000, 6_000), LIMITS)


def test_transparency_is_laid_over_white() -> None:
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    assert (pixels(encoded(clear)) == 255).all()


def test_a_palette_with_transparency_is_laid_over_white() -> None:
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([10, 20, 30] * 256)
    assert (pixels(encoded(palette, transparency=0)) == 255).all()


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    grey = np.full((20, 20), 0x8000, np.uint16)
    assert abs(int(pixels(encoded(Image.fromarray(grey)))[0, 0, 0]) - 128) <= 1


@pytest.mark.parametrize(("bits", "photometric", "brightest"), [(16, 1, 255), (16, 0, 0), (32, 1, 255)])
def test_a_gray_tiff_of_many_bits_is_shown_as_it_is_meant(bits: int, photometric: int, brightest: int) -> None:
    ramp = np.linspace(0, 2**bits - 1, 20 * 20).reshape(20, 20).astype(f"<u{bits // 8}")
    shown = pixels(plain_tiff(ramp, photometric))
    assert abs(int(shown[-1, -1, 0]) - brightest) <= 1
    assert abs(int(shown[10, 0, 0]) - 128) <= 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    assert pixels(encoded(decoded(image_bytes(1)).convert(mode), kind)).shape == (64, 96, 3)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    animation = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert pixels(animation)[0, 0].tolist() == [255, 0, 0]


def test_all_eight_orientations_come_out_upright() -> None:
    source = np.asarray(decoded(image_bytes(1, kind="PNG")))
    turns = {
        1: source,
        2: source[:, ::-1],
        3: source[::-1, ::-1],
        4: source[::-1],
        5: source.transpose(1, 0, 2),
        6: np.rot90(source, 1),
        7: source[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(source, -1),
    }
    for orientation, stored in turns.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
        assert (pixels(data) == source).all(), orientation
        assert (inspect(data, LIMITS).width, inspect(data, LIMITS).height) == (96, 64), orientation


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_published_picture_has_no_metadata(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 0.0)
    data = published(image_bytes(1, kind=kind, exif=exif, xmp=b"<secret/>"), LIMITS)
    assert (dict(decoded(data).getexif()), b"live" in data, b"secret" in data) == ({}, False, False)


def test_a_thumbnail_keeps_proportions_and_never_grows() -> None:
    assert decoded(thumbnail(image_bytes(1, size=(1600, 400)), LIMITS)).size == (320, 80)
    assert decoded(thumbnail(image_bytes(1, size=(100, 50)), LIMITS)).size == (100, 50)


def test_hostile_files_are_pictures_or_picture_errors(hostile: Path) -> None:
    files = [path for path in sorted(hostile.rglob("*")) if path.is_file()]
    assert files
    for path in files:
        try:
            thumbnail(path.read_bytes(), LIMITS)
        except ImageError:
            continue

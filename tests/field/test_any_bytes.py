"""Whatever bytes there are where EXIF should be, and wherever a file ends or is hit: no picture is lost by the former,
and what is said of a file at once holds when it is decoded.
"""

import io
import struct
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as tuned
from hypothesis import strategies as st
from PIL import Image

from tests.examples import examples
from tests.field.chunks import ifd, tiff_header
from tests.field.exif import EXIF_IFD, GPS_IFD, INTO, ORIENTATION
from tests.field.formats import heic, picture, tiled, two_in_one
from tests.field.inputs import jpeg, png, saved, webp
from tests.images import published
from umbel.base.errors import ImageError
from umbel.base.settings import Settings
from umbel.decoding.images import decode, inspect

T = TypeVar("T")

quick = tuned(examples(25), suppress_health_check=list(HealthCheck))
LIMITS = Settings(home=".", max_pixels=2**20)  # what claims more is refused before it costs time

values = st.binary(max_size=12)
tags = st.sampled_from([ORIENTATION, EXIF_IFD, GPS_IFD, 0x010F, 0x927C, 0x0201, 0x0202, 0x014A]) | st.integers(
    0, 65_535
)
counts = st.sampled_from([0, 1, 2, 2**31, 2**32 - 1]) | st.integers(0, 20)
entries = st.lists(st.tuples(tags, st.integers(0, 14), counts, values), max_size=6)
orders = st.sampled_from("<>")
offsets = st.sampled_from([0, 8, 9, 2**31, 2**32 - 1]) | st.integers(0, 100)


@st.composite
def directories(draw: st.DrawFn) -> bytes:
    """A header and one or two directories of any entries, which may lead anywhere."""
    order = draw(orders)
    block = tiff_header(order, first=draw(st.just(8) | offsets))
    block += ifd(draw(entries), order=order, following=draw(st.just(0) | offsets))
    return block + draw(st.binary(max_size=40))


@pytest.mark.parametrize("suffix", INTO)
@given(block=st.binary(max_size=200) | directories())
@quick
def test_no_picture_is_lost_by_its_exif(suffix: str, block: bytes) -> None:
    data = INTO[suffix](block, 5000)
    told = inspect(data, LIMITS)
    assert sorted((told.width, told.height)) == [64, 96]
    assert (told.width, told.height) == Image.open(io.BytesIO(published(data, LIMITS))).size


@cache
def whole(kind: str) -> bytes:
    """A picture of each coding; small, so that cuts and hits reach all of its parts."""
    size = (96, 64)
    return {
        "baseline": lambda: jpeg(5001),
        "progressive": lambda: jpeg(5002, progressive=True),
        "two in one": lambda: two_in_one(5003),
        "png": lambda: png(5005),
        "palette": lambda: saved(picture(5006).quantize(16), "PNG"),
        "webp": lambda: webp(5007),
        "lossless webp": lambda: webp(5008, lossless=True),
        "gif": lambda: saved(picture(5009), "GIF"),
        "tiff": lambda: saved(picture(5010, size=size), "TIFF", compression="tiff_lzw"),
        "tiles": lambda: tiled(5011),
        "bmp": lambda: saved(picture(5012), "BMP"),
        "avif": lambda: saved(picture(5013), "AVIF"),
        "heic": lambda: heic(picture(5014)),
    }[kind]()


CODINGS = (
    "baseline", "progressive", "two in one", "png", "palette", "webp", "lossless webp", "gif", "tiff", "tiles", "bmp",
    "avif", "heic",
)  # fmt: skip


@pytest.mark.parametrize("coding", CODINGS)
@given(share=st.floats(0, 1))
@example(1.0)
@quick
def test_a_file_cut_anywhere_is_taken_whole_or_refused_at_once(coding: str, share: float) -> None:
    data = whole(coding)
    agree(data[: round(share * len(data))])


@pytest.mark.parametrize("coding", CODINGS)
@given(
    hits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), min_size=1, max_size=3
    )
)
@quick
def test_a_file_hit_anywhere_is_taken_whole_or_refused_at_once(coding: str, hits: list[tuple[float, bytes]]) -> None:
    data = bytearray(whole(coding))
    for share, hit in hits:
        at = int(share * len(data))
        data[at : at + len(hit)] = hit
    agree(bytes(data))


@given(width=st.integers(0, 2**32 - 1), height=st.integers(0, 2**32 - 1))
@example(2**31, 1)
@example(16, 2**32 - 1)
@quick
def test_sizes_that_a_header_only_claims(width: int, height: int) -> None:
    data = whole("png")
    agree(data[:16] + struct.pack(">II", width, height) + data[24:])
    agree(whole("bmp")[:18] + struct.pack("<II", width, height) + whole("bmp")[26:])


def agree(data: bytes) -> None:
    """Decoding does what inspecting promised, whatever the bytes; nothing but an ImageError is raised."""
    told, code = outcome(inspect, data)
    decoded, code_then = outcome(decode, data)
    assert code_then == code
    if told is not None and decoded is not None:
        size = (told.width, told.height)
        assert decoded.size == size
        assert Image.open(io.BytesIO(published(data, LIMITS))).size == size


def outcome(function: Callable[[bytes, Settings], T], data: bytes) -> tuple[T | None, str | None]:
    """What it returns, or the code of its refusal."""
    try:
        return function(data, LIMITS), None
    except ImageError as refusal:
        return None, refusal.code

"""Kinds of pictures from first bytes, and what is passed over."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from umbel_files.kinds import SIGNATURES, START, Kind, kind_of

STARTS = [
    (b"\xff\xd8\xff\xe1", Kind.JPEG),
    (b"\x89PNG\r\n\x1a\n", Kind.PNG),
    (b"RIFF\x10\0\0\0WEBPVP8 ", Kind.WEBP),
    (b"RIFF\x10\0\0\0WAVEfmt ", None),
    (b"GIF89a\1\0", Kind.GIF),
    (b"II*\0\x08\0\0\0\x10\0", Kind.TIFF),
    (b"MM\0*\0\0\0\x08", Kind.TIFF),
    (b"II*\0\x10\0\0\0CR\2\0", Kind.CAMERA_RAW),
    (b"BM\x9a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", Kind.BMP),
    (b"BMW, a car, and what it costs to have one", None),
    (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", Kind.AVIF),
    (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", Kind.AVIF),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Kind.HEIC),
    (b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf", Kind.HEIC),
    (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", None),
    (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", Kind.CAMERA_RAW),
    (b"\xff\x0a\xfa\x7f", Kind.JPEG_XL),
    (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", Kind.SVG),
    (b"<?xml version='1.0'?><rss/>", None),
    (b"", None),
]


@pytest.mark.parametrize(("start", "kind"), STARTS)
def test_a_kind_is_told_by_the_first_bytes(start: bytes, kind: Kind | None) -> None:
    assert kind_of(start) is kind


@given(st.binary(max_size=64), st.sampled_from([b"", b"RIFF", b"\0\0\0\x20ftyp", b"BM", b"<?xml", b"\0\0\0\0ftyp"]))
def test_any_bytes_are_of_a_kind_or_of_none(rest: bytes, begin: bytes) -> None:
    found = kind_of((begin + rest)[:START])
    assert found is None or found in Kind


@given(st.sampled_from(STARTS), st.binary(max_size=60))
def test_the_pages_pattern_knows_what_begins_so(case: tuple[bytes, Kind | None], rest: bytes) -> None:
    start, kind = case
    if kind not in (None, Kind.SVG):
        assert re.search(SIGNATURES, (start + rest).decode("latin-1"))
    elif not start.startswith(b"BM"):
        assert not re.search(SIGNATURES, start.decode("latin-1"))

"""Every generated file through the decoding functions: what is promised of its header holds for its pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.field.catalog import KINDS, colored, files
from tests.field.inputs import Input, listed
from tests.field.profiles import SIDE, Colored
from tests.images import published, thumbnail
from umbel.base.errors import ImageError
from umbel.base.settings import Settings
from umbel.decoding.images import decode, inspect

TOLERANCE = 12  # of 255: JPEG, and the rounding of profiles


@pytest.fixture(scope="module")
def limits() -> Settings:
    return Settings(home=".")


@pytest.mark.parametrize("kind", KINDS)
def test_what_inspect_says_of_a_file_is_right_and_holds(kind: str, limits: Settings) -> None:
    wrong = {each.name: what for each in files(kind) if (what := _wrong(each, limits))}
    assert not wrong, listed(wrong)


def _wrong(wanted: Input, limits: Settings) -> str:
    """What is wrong, in words; empty: nothing."""
    try:
        told = inspect(wanted.data, limits)
    except ImageError as error:
        as_wanted = not wanted.media_type and wanted.refused in (error.code, None) and wanted.says in str(error)
        if not as_wanted:
            return f"refused: {error.code} {error}"
        return _decodes_all_the_same(wanted.data, limits)
    if wanted.refused:
        return "taken"
    size = (told.width, told.height)
    served = published(wanted.data, limits)
    sizes = decode(wanted.data, limits).size, _opened(served).size
    _opened(thumbnail(wanted.data, limits)).load()
    if sizes != (size, size):
        return f"told as {size}, decoded and served as {sizes}"
    right = wanted.media_type or told.media_type, wanted.size or size
    return "" if (told.media_type, size) == right else f"told as {told.media_type} {size}, not {right}"


def _decodes_all_the_same(data: bytes, limits: Settings) -> str:
    try:
        decode(data, limits)
    except ImageError:
        return ""
    return "refused by inspect, and decodes"


def _opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("each", range(3), ids=["decoded", "served", "thumbnail"])
def test_colors_are_those_of_the_profile(each: int, limits: Settings) -> None:
    looks = (
        lambda data: decode(data, limits),
        lambda data: _opened(published(data, limits)),
        lambda data: _opened(thumbnail(data, limits)),
    )
    wrong = {one.file.name: off for one in colored() if (off := _off(one, looks[each](one.file.data))) > TOLERANCE}
    assert not wrong, listed(wrong)


def _off(wanted: Colored, shown: Image.Image) -> float:
    """By how much a channel of a patch is off at most."""
    middles = [shown.convert("RGB").getpixel((SIDE * n + SIDE // 2, SIDE)) for n in range(len(wanted.srgb))]
    return float(np.abs(np.array(middles) - wanted.srgb).max().round(1))

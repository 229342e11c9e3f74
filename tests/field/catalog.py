"""All generated files by what is odd about them; each list is made when a test first asks for it."""

from collections.abc import Callable
from functools import cache

from tests.field import damage, exif, formats, profiles
from tests.field.inputs import Input
from tests.field.profiles import Colored


@cache
def colored() -> list[Colored]:
    return [*profiles.in_rgb(), *profiles.in_other_modes(), *profiles.broken()]


_MAKERS: dict[str, Callable[[], list[Input]]] = {
    "damaged EXIF": exif.damaged,
    "orientations": exif.orientations,
    "damaged JPEG": damage.jpegs,
    "damaged PNG": damage.pngs,
    "damaged others": damage.others,
    "formats": formats.accepted,
    "false suffixes": formats.false_suffixes,
    "profiles": lambda: [each.file for each in colored()],
    "unsupported": formats.unsupported,
    "refused": formats.refused,
    "no pictures": formats.no_pictures,
}
KINDS = tuple(_MAKERS)


OPEN = {
    "progressive half.jpg": "nothing of a progressive JPEG that is cut is shown",
    "short JFIF.jpg": "Pillow raises on a short segment",
    "short Adobe.jpg": "Pillow raises on a short segment",
    "long compressed text.png": "inspect refuses what decodes",
    "long international text.png": "inspect refuses what decodes",
    "long profile.png": "inspect refuses what decodes",
    "many long texts.png": "inspect refuses what decodes",
    "short density.png": "inspect refuses what decodes",
    "short gamma.png": "inspect refuses what decodes",
    "short chromaticities.png": "inspect refuses what decodes",
    "in tiles.heic": "no thumbnail of a HEIC with several pictures that is larger",
    "two large.heif": "no thumbnail of a HEIC with several pictures that is larger",
    "header only.jpg": "inspect refuses what decodes",
}
"""What does not come out right yet."""


@cache
def files(kind: str) -> list[Input]:
    return [each for each in _MAKERS[kind]() if each.name not in OPEN]


def open_file(name: str) -> Input:
    return next(each for make in _MAKERS.values() for each in make() if each.name == name)


def every_file() -> dict[str, Input]:
    """By name."""
    return {each.name: each for kind in KINDS for each in files(kind)}

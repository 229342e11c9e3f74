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


@cache
def files(kind: str) -> list[Input]:
    return _MAKERS[kind]()

"""What people send: generated files, each with the outcome that is right by every way into the gallery.

Pictures are drawn from a number, so that no two inputs share their bytes and each can be told from the others.
"""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from PIL import Image

from tests.images import image_bytes


@dataclass(frozen=True, slots=True)
class Input:
    """A file and what is to become of it.

    media_type: what a picture that is taken is called; refused: the code of a refusal otherwise. Neither: both are
    right, but every way must say the same, and at once.
    size: width and height as seen, where the point of the file is its size.
    says: what the reason of a refusal must name.
    """

    name: str
    data: bytes
    media_type: str | None = None
    refused: str | None = None
    size: tuple[int, int] | None = None
    says: str = ""


def jpeg(seed: int, *, size: tuple[int, int] = (96, 64), **options: object) -> bytes:
    return image_bytes(seed, size=size, kind="JPEG", **options)


def png(seed: int, *, size: tuple[int, int] = (96, 64), **options: object) -> bytes:
    return image_bytes(seed, size=size, kind="PNG", **options)


def webp(seed: int, *, size: tuple[int, int] = (96, 64), **options: object) -> bytes:
    return image_bytes(seed, size=size, kind="WEBP", **options)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def media_type(name: str) -> str:
    """By the suffix of a generated file, which is honest where nothing else is said."""
    suffix = name.rsplit(".", 1)[-1].lower()
    return "image/" + {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix)


def taken(files: Iterable[tuple[str, bytes]]) -> list[Input]:
    """Inputs that are taken, of the media type that their names say."""
    return [Input(name, data, media_type(name)) for name, data in files]


def listed(wrong: Mapping[str, object]) -> str:
    """What is wrong with which file, a line each."""
    return "\n".join(f"{name!r}: {what}" for name, what in wrong.items())

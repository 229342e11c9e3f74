"""An archive with one of each: what must fail by itself, with its reason, while everything else is imported."""

import io
import stat
import zipfile
from pathlib import Path

from PIL import Image

from tests.images import image_bytes

# On the PYTHONPATH of a worker, its decoders crash on one of the traps: such pictures exist, but not for long.
CRASHING = Path(__file__).with_name("crashing")

# What becomes of each: None is indexed.
TRAPS = {
    "good/a.jpg": None,
    "bomb.jpg": "archive_bomb",
    "../slip.jpg": "unsafe_path",
    "/etc/absolute.jpg": "unsafe_path",
    "link.jpg": "unsafe_path",
    "nested.zip": "nested_archive",
    "nested-under-another-name.jpg": "nested_archive",
    "huge.png": "too_many_pixels",
    "cut.jpg": "corrupt_image",
    "empty.jpg": "empty_file",
    "text.jpg": "unsupported_image",
    "crash.jpg": "poison",
    "good/b.png": None,
}


def archive_of_traps() -> bytes:
    """A zip with an entry for each of TRAPS, and a file that is passed over."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in TRAPS:
            if name == "link.jpg":
                link = zipfile.ZipInfo(name)
                link.create_system = 3  # Unix: the mode below counts
                link.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(link, "/etc/passwd")
            else:
                archive.writestr(name, _content(name))
        archive.writestr("notes.txt", "no picture")
    return out.getvalue()


def _content(name: str) -> bytes:
    special = {
        "bomb.jpg": lambda: image_bytes(1) + bytes(10_000_000),
        "nested.zip": _zip_of_one,
        "nested-under-another-name.jpg": _zip_of_one,
        "huge.png": lambda: _png(20_000, 15_000),
        "cut.jpg": lambda: image_bytes(2, size=(400, 300), kind="WEBP")[:2_000],
        "empty.jpg": bytes,
        "text.jpg": lambda: b"not a picture, whatever its name",
        "crash.jpg": lambda: image_bytes(4, comment=b"crash"),
    }
    if name in special:
        return special[name]()
    return image_bytes(sum(name.encode()), kind="PNG" if name.endswith(".png") else "JPEG")


def _zip_of_one() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("inner.jpg", image_bytes(3))
    return out.getvalue()


def _png(width: int, height: int) -> bytes:
    """A real picture, of one bit a pixel: it packs very well."""
    out = io.BytesIO()
    Image.new("1", (width, height)).save(out, "PNG")
    return out.getvalue()

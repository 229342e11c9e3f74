"""Small files that claim much, or ask for much work: each is taken or refused by its type, within bounds."""

import struct
import zlib
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from PIL import Image

from tests.field.boxes import claiming, grid
from tests.field.chunks import (
    Entry,
    ifd,
    long,
    png_chunk,
    riff,
    scan_start,
    segment,
    short,
    tiff,
    tiff_header,
)
from tests.field.damage import with_chunk
from tests.field.formats import heic, huge_png, picture
from tests.field.inputs import jpeg, png, saved

MEGABYTE = 2**20


def tiles(rows: int, columns: int, *, size: tuple[int, int] | None = None) -> bytes:
    return grid(heic(picture(6000)), rows, columns, size=size)


def large_avif() -> bytes:
    """40 megapixels, the most that is taken."""
    return saved(Image.new("RGB", (8000, 5000), "teal"), "AVIF", speed=10)


def frames(count: int, *, circle: bool = False) -> bytes:
    """A TIFF of many frames that share their pixels. circle: the last one leads to the first."""
    pixels = picture(6001).tobytes()
    entries: list[Entry] = [
        (256, 4, 1, long(96)), (257, 4, 1, long(64)), (258, 3, 1, short(8)), (259, 3, 1, short(1)),
        (262, 3, 1, short(2)), (273, 4, 1, long(8)), (277, 3, 1, short(3)), (278, 4, 1, long(64)),
        (279, 4, 1, long(len(pixels))),
    ]  # fmt: skip
    first, length = 8 + len(pixels), len(ifd(entries))
    starts = [first + n * length for n in range(count)] + [first if circle else 0]
    directories = [ifd(entries, at=at, following=following) for at, following in pairwise(starts)]
    return tiff_header(first=first) + pixels + b"".join(directories)


def odd_tiff(*entries: Entry, size: tuple[int, int] = (96, 64)) -> bytes:
    """Pixels for 96 × 64 whose directory says other things."""
    return tiff(bytes(96 * 64 * 3), size, entries)


def gif(canvas: tuple[int, int], *, count: int = 1) -> bytes:
    """Frames of 20 × 20 pixels on a canvas of this size."""
    data = saved(picture(6002, size=(20, 20)).quantize(8), "GIF")
    blocks = data.index(b"\x2c", 13)  # of the frame; the palette before it has no such byte by luck alone
    head = data[:6] + struct.pack("<HH", *canvas) + data[10:blocks]
    return head + data[blocks:-1] * count + b";"


def bitmap(**lies: int) -> bytes:
    """A BMP whose header says other things. lies: offset → a 32-bit number, as `at_18=…`."""
    data = bytearray(saved(picture(6003), "BMP"))
    for where, value in lies.items():
        at = int(where.removeprefix("at_"))
        data[at : at + 4] = struct.pack("<I", value & 2**32 - 1)
    return bytes(data)


def many_scans(side: int, count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: every one of them is a pass over the whole picture."""
    data = saved(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + b"\xff\xd9"


def inflating(megabytes: int) -> bytes:
    return zlib.compress(bytes(megabytes * MEGABYTE), 1)


def png_of_more(megabytes: int) -> bytes:
    """The pixels inflate to far more than the header asks for."""
    start, end = png(6004)[:33], png_chunk(b"IEND", b"")
    return start + png_chunk(b"IDAT", inflating(megabytes)) + end


HOSTILE: dict[str, Callable[[], bytes]] = {
    "HEIC that claims 30,000 × 30,000": lambda: claiming(heic(picture(6010)), 30_000, 30_000),
    "HEIC that claims 6,000 × 6,000": lambda: claiming(heic(picture(6011)), 6_000, 6_000),
    "HEIC of 65,025 tiles": lambda: tiles(255, 255),
    "HEIC of 900 tiles": lambda: tiles(30, 30),
    "HEIC of 16 tiles that claims 30,000 × 30,000": lambda: tiles(4, 4, size=(30_000, 30_000)),
    "AVIF that claims 65,535 × 65,535": lambda: claiming(saved(picture(6012), "AVIF"), 65_535, 65_535),
    "AVIF of 40 megapixels": large_avif,
    "TIFF of 1,000 frames": lambda: frames(1000),
    "TIFF of frames in a circle": lambda: frames(3, circle=True),
    "TIFF of 2 billion strips": lambda: odd_tiff((273, 4, 2**31 - 1, long(8)), (278, 4, 1, long(1))),
    "TIFF of a million strips": lambda: odd_tiff((273, 4, 10**6, bytes(4 * 10**6)), (279, 4, 10**6, long(9) * 10**6)),
    "TIFF that claims 60,000 × 60,000": lambda: odd_tiff(size=(60_000, 60_000)),
    "TIFF that claims 6,000 × 6,000": lambda: odd_tiff(size=(6_000, 6_000)),
    "TIFF of 65,535 samples": lambda: odd_tiff((277, 3, 1, short(65_535))),
    "TIFF of a tile of 2 billion pixels": lambda: odd_tiff(
        (322, 4, 1, long(2**31 - 16)), (323, 4, 1, long(16)), (324, 4, 1, long(8)), (325, 4, 1, long(9))
    ),
    "GIF of 60,000 × 60,000 and a small frame": lambda: gif((60_000, 60_000)),
    "GIF of 6,000 × 6,000 and a small frame": lambda: gif((6_000, 6_000)),
    "GIF of 10,000 frames": lambda: gif((100, 100), count=10_000),
    "BMP that claims 2 billion columns": lambda: bitmap(at_18=2**31 - 1),
    "BMP that claims a negative width": lambda: bitmap(at_18=-96),
    "BMP that claims 2 billion rows from the top": lambda: bitmap(at_22=-(2**31)),
    "BMP of 7 bits": lambda: bitmap(at_26=1 | 7 << 16),
    "BMP whose pixels begin beyond its end": lambda: bitmap(at_10=2**31),
    "BMP in runs that are none": lambda: bitmap(at_26=1 | 8 << 16, at_30=1),
    "BMP of 4 billion colors": lambda: bitmap(at_26=1 | 8 << 16, at_46=2**32 - 1),
    "BMP that holds a PNG": lambda: bitmap(at_30=5),
    "PNG with 100 MB of compressed text": lambda: with_chunk(6020, b"zTXt", b"a\0\0" + inflating(100)),
    "PNG with 100 MB of international text": lambda: with_chunk(6021, b"iTXt", b"a\0\1\0\0\0" + inflating(100)),
    "PNG with a profile of 100 MB": lambda: with_chunk(6022, b"iCCP", b"a\0\0" + inflating(100)),
    "PNG with 15 MB of text": lambda: with_chunk(6023, b"tEXt", b"a\0" + b"x" * 15 * MEGABYTE),
    "PNG whose pixels inflate to 300 MB": lambda: png_of_more(300),
    "PNG that claims 2 billion columns": lambda: huge_png(2**31 - 1, 16),
    "PNG of 50,000 chunks": lambda: with_chunk(6024, b"teXt", b"", times=50_000),
    "WebP that claims 16 million columns": lambda: riff([(b"VP8X", b"\x10\0\0\0" + b"\xff" * 6), (b"ALPH", bytes(9))]),
    "JPEG that claims 65,500 × 65,500": lambda: claiming_jpeg(6025, 65_500),
    "JPEG of 400 scans": lambda: many_scans(3000, 400),
    "JPEG of 300 profiles": lambda: jpeg_of_profiles(6026),
}


def claiming_jpeg(seed: int, side: int) -> bytes:
    data = jpeg(seed)
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", side, side) + data[at + 4 :]


def jpeg_of_profiles(seed: int) -> bytes:
    """Every part says that it is one of 255, and there are more."""
    data = jpeg(seed)
    part = np.random.default_rng(seed).bytes(60_000)
    parts = b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes([n % 255 + 1, 255]) + part) for n in range(300))
    return data[:2] + parts + data[2:] if scan_start(data) else data

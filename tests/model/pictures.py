"""Pictures by number, the same bytes for the same one, and bytes that are none."""

import hashlib
import io
import random
import struct
import zlib
from functools import lru_cache

import numpy as np
from PIL import Image

KINDS = ("JPEG", "PNG", "WEBP")
BAD: set[bytes] = set()  # what `bad_bytes` has given
COPIES = 5  # every fifth number is the one before it, compressed once more: a near-duplicate


@lru_cache(4096)
def picture(number: int) -> bytes:
    """A small picture."""
    kind, quality = KINDS[number % len(KINDS)], 90
    if number % COPIES == COPIES - 1:
        kind, quality, number = "JPEG", 60, number - 1
    rng = np.random.default_rng(number)
    width, height = (int(side) for side in rng.integers(40, 90, 2))
    blotches = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(blotches).resize((width, height), Image.Resampling.BICUBIC).save(out, kind, quality=quality)
    return out.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height."""
    with Image.open(io.BytesIO(data)) as image:
        return image.size


def bad_bytes(rng: random.Random) -> tuple[bytes, int]:
    """Bytes that are refused, and the status with which they are."""
    data, status = rng.choice(
        (
            lambda: (b"", 422),
            lambda: (rng.randbytes(200), 415),
            lambda: (b"\x89PNG\r\n\x1a\n" + rng.randbytes(40), 415),
            lambda: (_png(8, 8), 422),
            lambda: (_png(30_000, 30_000), 413),
            lambda: (b"%PDF-1.7\n" + rng.randbytes(80), 415),
        )
    )()
    BAD.add(data)
    return data, status


def _png(width: int, height: int) -> bytes:
    """A gray picture of that size; a large one is no more than its header and some rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes(width + 1) * min(height, 8))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

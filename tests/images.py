"""Pictures made on the spot."""

import io

import numpy as np
from PIL import Image

from umbel.decoding.images import write_published, write_thumbnail
from umbel.decoding.limits import Limits


def image_bytes(seed: int = 0, *, size: tuple[int, int] = (96, 64), kind: str = "JPEG", **options: object) -> bytes:
    """A blotchy picture, different for each seed; the same bytes for the same one."""
    blotches = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(blotches).resize(size, Image.Resampling.BICUBIC).save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def published(data: bytes, limits: Limits) -> bytes:
    """What is handed out of a picture file."""
    out = io.BytesIO()
    write_published(data, limits, out)
    return out.getvalue()


def thumbnail(data: bytes, limits: Limits) -> bytes:
    out = io.BytesIO()
    write_thumbnail(data, limits, out)
    return out.getvalue()

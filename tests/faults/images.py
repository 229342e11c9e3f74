"""Small pictures of flowers, as many as wanted, no two alike, hundreds a second; the same ones for the same seed."""

import io
from functools import cache

import numpy as np
from PIL import Image

from garden import draw_specimen

SIDE = 112  # pixels
SPECIES, SPECIMENS = 12, 3


def image_bytes(seed: int, number: int) -> bytes:
    """A JPEG of SIDE × SIDE: a crop of a flower, mirrored or not, in its own light and with its own noise."""
    rng = np.random.default_rng([seed, number])
    flower = _flowers()[int(rng.integers(SPECIES * SPECIMENS))]
    side = rng.uniform(0.5, 1) * flower.width
    left, top = rng.uniform(0, flower.width - side, 2)
    cropped = flower.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    pixels = np.asarray(cropped, np.float32)[:, :: int(rng.choice((-1, 1)))]
    lit = pixels * rng.uniform(0.7, 1.3, 3) + rng.normal(0, 6, (SIDE, SIDE, 1))
    out = io.BytesIO()
    Image.fromarray(lit.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=85)
    return out.getvalue()


@cache
def _flowers() -> list[Image.Image]:
    return [draw_specimen(7, kind, each, size=160) for kind in range(SPECIES) for each in range(SPECIMENS)]

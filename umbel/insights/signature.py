"""What comparing pictures pixel by pixel needs of each: a small grey copy of it, and how sharp it is.

Decoding processes import this, so it knows no database; what is stored of it: umbel/insights/signatures.py.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from umbel.base.types import ImageSignature
from umbel.decoding.images import decode
from umbel.decoding.limits import Limits

SCALE = 512  # pixels of the longer side at which sharpness is compared; smaller pictures are taken as they are
SMOOTHED = 1.0  # pixels at that scale
SIDE = 64  # pixels of the grey copy, as ml/data/duplicates takes it
QUALITY = 85  # of the grey copy as it is stored: about 1.5 kB instead of 4


def signature_of(data: bytes, limits: Limits) -> ImageSignature:
    """Grey copy and sharpness of a picture file. Raises ImageError."""
    small = decode(data, limits, side=SCALE)
    small.thumbnail((SCALE, SCALE), Image.Resampling.LANCZOS)
    grey = small.convert("L")
    pixels = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return ImageSignature(sharpness(grey), pixels)


def sharpness(grey: Image.Image) -> float:
    """Variance of the Laplacian of a grey picture, as a share of the picture's own variance: 0 for a plain surface.

    Smoothed a little before, since the blocks of a JPEG are edges too: a recompressed copy then has 0.95 to 1.08 of its
    original's, not up to 1.85. As a share, since more contrast is no more detail.
    Source: J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study", ICPR 2000,
    measure LAP4.
    """
    pixels = np.asarray(grey.filter(ImageFilter.GaussianBlur(SMOOTHED)), np.float32)
    neighbors = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:]
    laplacian = neighbors - 4 * pixels[1:-1, 1:-1]
    return float(laplacian.var() / (pixels.var() + 1)) if laplacian.size else 0.0


def packed(pixels: NDArray[np.uint8]) -> bytes:
    """The grey copy as it is stored: a JPEG of our own making."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def unpacked(data: bytes) -> NDArray[np.uint8]:
    """The grey copy as it was before `packed`, nearly."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.asarray(image)

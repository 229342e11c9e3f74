"""The coarse look: is one picture a window of the other? Low frequencies compared, in many windows and mirrored.

A perceptual hash keeps the signs of a shrunk picture's low frequencies. Signs survive a resize or a recompression, but
not a crop or a mirror, and they throw away half of what the coefficients know. Here the coefficients themselves are
compared, each weighted by its frequency so that light and layout do not drown the rest (a photograph's coefficients
fall off about as 1 / frequency), and one picture is tried in many windows of the other and in its mirror image.
Measured against hashes in docs/explanation/leakage.md.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from umbel.base.types import Pixels

Thumbs = NDArray[np.uint8]  # (N, SIDE, SIDE): grey, squashed to a square
Signatures = NDArray[np.float32]  # (…, BANDS² − 1), unit length: weighted low frequencies
Window = tuple[float, float, float, float]  # top, left, height, width, in shares of the side

SIDE = 64  # of a thumb
GRID = 32  # samples a side that a window of it is read at
BANDS = 12  # lowest frequencies kept, each way
SHARES = (0.95, 0.9, 0.85, 0.8)  # of a side that a window may keep
FLAT = 0.05  # length of the coefficients of a plain surface: there is nothing to compare


def thumb(pixels: Pixels) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 → (SIDE, SIDE) uint8, grey."""
    picture = Image.fromarray(pixels).convert("L")
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def signatures(thumbs: Thumbs) -> Signatures:
    """(N, SIDE, SIDE) → (N, F): each picture as a whole."""
    return _weighted(_coefficients(thumbs, WINDOWS[:1]))[:, 0]


def window_signatures(thumbs: Thumbs) -> Signatures:
    """(N, SIDE, SIDE) → (N, W, F): each picture as a whole and cropped in every other way of WINDOWS."""
    return _weighted(_coefficients(thumbs, WINDOWS))


def mirrored(found: Signatures) -> Signatures:
    """The signatures of the mirror images: a mirror turns the sign of every odd horizontal frequency."""
    return found * _MIRROR


def likeness(windows: Signatures, others: Signatures) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """(P, W, F) against (P, F) → how well each other is its picture's best window, and which window that is, (P,) each.

    The likeness is a cosine in [−1, 1]: 1 for the same picture, about 0 for two that have nothing in common. Windows
    are numbered as in WINDOWS; W and more: the same windows, and the other one mirrored.
    """
    cosines = np.concatenate([np.matmul(windows, each[:, :, None])[..., 0] for each in (others, mirrored(others))], 1)
    best = cosines.argmax(1)
    return np.take_along_axis(cosines, best[:, None], 1)[:, 0], best


def _windows() -> list[Window]:
    """Nothing cropped; then all sides, the height alone, the width alone."""
    found = [(0.0, 0.0, 1.0, 1.0)]
    for share in SHARES:
        starts = (0.0, (1 - share) / 2, 1 - share)
        found += [(top, left, share, share) for top in starts for left in starts]
        found += [(start, 0.0, share, 1.0) for start in starts] + [(0.0, start, 1.0, share) for start in starts]
    return found


def sampler(start: float, length: float, count: int, points: int = 1) -> NDArray[np.float32]:
    """(count, SIDE): reads `count` even samples of the part [start, start + length] of a row of SIDE pixels.

    points: each sample is the mean of so many, each between two pixels.
    """
    at = ((np.arange(count * points) + 0.5) / (count * points) * length + start) * SIDE - 0.5
    low = np.floor(at).astype(int)
    matrix = np.zeros((count, SIDE), np.float32)
    for pixel, weight in ((low, 1 - (at - low)), (low + 1, at - low)):
        np.add.at(matrix, (np.arange(count * points) // points, pixel.clip(0, SIDE - 1)), weight / points)
    return matrix


def _transform(start: float, length: float) -> NDArray[np.float32]:
    """(BANDS, SIDE): the cosine transform (DCT-II) of a part of a row of pixels."""
    frequency = np.arange(BANDS)[:, None]
    basis = np.cos(np.pi * frequency * (2 * np.arange(GRID) + 1) / (2 * GRID)) / np.sqrt(GRID / 2)
    basis[0] *= np.sqrt(0.5)
    return (basis @ sampler(start, length, GRID, points=8)).astype(np.float32)


def _coefficients(thumbs: Thumbs, windows: Sequence[Window]) -> NDArray[np.float32]:
    """(N, SIDE, SIDE) → (N, W, BANDS, BANDS): rows are vertical frequencies."""
    down = [_transform(top, height) for top, _, height, _ in windows]
    across = np.concatenate([_transform(left, width) for _, left, _, width in windows])
    rows = (thumbs.reshape(-1, SIDE).astype(np.float32) / 255) @ across.T
    rows = rows.reshape(len(thumbs), SIDE, len(windows), BANDS)
    return np.stack([matrix @ rows[:, :, window] for window, matrix in enumerate(down)], 1)


def _weighted(coefficients: NDArray[np.float32]) -> Signatures:
    """Weighted by frequency, without the mean, to unit length; zero where a picture is flat."""
    flat = (coefficients * _FREQUENCY).reshape(*coefficients.shape[:-2], -1)[..., 1:]
    length = np.linalg.norm(flat, axis=-1, keepdims=True)
    return np.where(length > FLAT, flat / np.maximum(length, FLAT), np.float32(0))


WINDOWS = _windows()
_STEPS = np.arange(BANDS, dtype=np.float32)
_FREQUENCY = np.hypot(_STEPS[:, None], _STEPS)
_MIRROR = np.tile((-1.0) ** _STEPS, BANDS)[1:].astype(np.float32)

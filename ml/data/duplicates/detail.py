"""The fine look: do two pictures agree patch by patch, once one is laid over the other's best window?

What is compared is what is left of a thumb once its light has been evened out, so that a silhouette (a round head, a
white frame) counts no more than the texture in it. Each patch may lie a little off, which forgives a window that does
not quite fit, a small turn, and the hand's motion between two shots of one scene.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ml.data.duplicates.signatures import SIDE, WINDOWS, Thumbs, sampler

PATCHES = 4  # a side
REACH = 4  # pixels of a thumb that a patch may be off
BLOCK = 32  # pairs at once: they stay in a core's cache
NOISE = 0.02  # deviation of grey, in [0, 1], below which a surface counts as plain


def pixel_similarity(thumbs: Thumbs, others: Thumbs, windows: NDArray[np.intp]) -> NDArray[np.float32]:
    """(P, SIDE, SIDE) against (P, SIDE, SIDE) → (P,) in [−1, 1]: how alike the patches are, the textured ones first.

    windows: (P,), where in its picture each other belongs, as `signatures.likeness` numbers them.
    """
    blocks = [slice(start, start + BLOCK) for start in range(0, len(thumbs), BLOCK)]
    found = [_pixel_similarity(thumbs[block], others[block], windows[block]) for block in blocks]
    return np.concatenate(found) if found else np.empty(0, np.float32)


def _pixel_similarity(thumbs: Thumbs, others: Thumbs, windows: NDArray[np.intp]) -> NDArray[np.float32]:
    window, turned = windows % len(WINDOWS), windows >= len(WINDOWS)
    whole = _evened(_DOWN[window] @ thumbs.astype(np.float32) @ _ACROSS[window])
    other = _patched(_evened(np.where(turned[:, None, None], others[:, :, ::-1], others).astype(np.float32)))
    roomy = np.pad(whole, ((0, 0), (REACH, REACH), (REACH, REACH)))
    energy = np.einsum("niajb,niajb->nij", other, other)
    best = np.full(energy.shape, -1, np.float32)
    for down in range(2 * REACH + 1):
        for right in range(2 * REACH + 1):
            moved = _patched(roomy[:, down : down + SIDE, right : right + SIDE])
            product = np.einsum("niajb,niajb->nij", moved, other)
            both = np.einsum("niajb,niajb->nij", moved, moved) * energy
            np.maximum(best, product / np.sqrt(both + 1e-6), out=best)
    weight = np.sqrt(energy) + 1e-6
    found: NDArray[np.float32] = (best * weight).sum((1, 2)) / weight.sum((1, 2))
    return found


def _evened(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """(P, SIDE, SIDE) of grey in [0, 255] → the same: detail around zero, equally strong wherever there is some."""
    grey = pictures / 255
    detail = gaussian_filter(grey, (0, 0.6, 0.6)) - gaussian_filter(grey, (0, 3, 3))
    found: NDArray[np.float32] = detail / (np.sqrt(gaussian_filter(detail**2, (0, 5, 5))) + NOISE)
    return found


def _patched(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """(P, SIDE, SIDE) → (P, PATCHES, side, PATCHES, side), without a copy where possible."""
    side = SIDE // PATCHES
    return pictures.reshape(len(pictures), PATCHES, side, PATCHES, side)


_DOWN = np.stack([sampler(top, height, SIDE) for top, _, height, _ in WINDOWS])
_ACROSS = np.stack([sampler(left, width, SIDE).T for _, left, _, width in WINDOWS])

"""Verification: are two pictures of one class? The ROC over every pair, and what is read off it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from umbel.base.types import Vectors

Rates = NDArray[np.float64]

BLOCK = 1024  # most rows of similarities at once
CELLS = 2**24  # similarities held at once: with their bins about 300 MiB
BINS = 2**18  # cosines nearer to each other than 2 / BINS, a hundredth of what bf16 changes, count as tied


@dataclass(frozen=True, slots=True)
class Roc:
    """Same-class decisions over all pairs, threshold falling. far, tar: (T,) in [0, 1], rising, NaN without such pairs.

    At thresholds[i] and above a pair is accepted; same, different: how many pairs of each kind there are.
    """

    far: Rates
    tar: Rates
    thresholds: Rates
    same: int
    different: int

    @property
    def auc(self) -> float:
        """The area under the curve: how often a same pair is more similar than a different one, ties counting half."""
        return float(np.trapezoid(self.tar, self.far))

    @property
    def eer(self) -> float:
        """The error rate where as many different pairs are accepted as same pairs are refused."""
        after, share = self._crossing()
        if not after:
            return float("nan")
        return float(self.far[after - 1] + share * (self.far[after] - self.far[after - 1]))

    @property
    def eer_threshold(self) -> float:
        """The similarity from which on pairs are accepted at the equal error rate."""
        after, _ = self._crossing()
        return float(self.thresholds[after]) if after else float("nan")

    def tar_at(self, far: float) -> float:
        """Share of same pairs accepted at the threshold where at most this share of different pairs is."""
        if np.isnan(self.far[-1] + self.tar[-1]):
            return float("nan")
        return float(self.tar[np.searchsorted(self.far, far, side="right") - 1])

    def _crossing(self) -> tuple[int, float]:
        """Where as much is wrongly accepted as wrongly refused: before this position, and at which share of the step.

        Position 0 without a crossing: there are no pairs of one kind.
        """
        gap = self.far - (1 - self.tar)
        after = int(np.argmax(gap >= 0))
        return after, float(gap[after - 1] / (gap[after - 1] - gap[after])) if after else 0.0


def verification(vectors: Vectors, labels: NDArray[np.integer]) -> Roc:
    """The ROC of "same class?" by cosine, over every pair of different pictures, each pair once.

    Pairs are counted into BINS bins of cosine, block by block, so that memory does not grow with their number.
    """
    step = max(1, min(BLOCK, CELLS // max(len(vectors), 1)))
    same, every = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    for start in range(0, len(vectors), step):
        block = vectors[start : start + step] @ vectors[start:].T
        later = np.arange(block.shape[1]) > np.arange(len(block))[:, None]
        bins = ((block[later] + 1) * (BINS / 2)).astype(np.int64).clip(0, BINS - 1)
        every += np.bincount(bins, minlength=BINS)
        agree = labels[start : start + step, None] == labels[start:]
        same += np.bincount(bins[agree[later]], minlength=BINS)
    filled = np.flatnonzero(every)[::-1]
    accepted, passed = np.cumsum(same[filled]), np.cumsum(every[filled])
    with np.errstate(invalid="ignore"):
        tar = accepted / same.sum()
        far = (passed - accepted) / (every - same).sum()
    # At an infinite threshold nothing is accepted.
    curve = (np.append(0, far), np.append(0, tar), np.append(np.inf, filled * 2 / BINS - 1))
    return Roc(*curve, same=int(same.sum()), different=int((every - same).sum()))

"""Verification: are two images of one class? The ROC over every pair, and over pairs whose images count differently."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.protocol import EVERY_OTHER, Protocol
from umbel.base.types import Vectors

Rates = NDArray[np.float64]
Indices = NDArray[np.intp]

BLOCK = 1024  # most rows of similarities at once
CELLS = 2**24  # similarities held at once: with their bins about 300 MiB
BINS = 2**18  # cosines nearer to each other than 2 / BINS, a hundredth of what bf16 changes, count as tied

ALL_UP_TO = 8_000_000  # pairs that are weighed; 4,000 images
DRAWN = 2_000_000  # pairs of each kind where there are more
STEPS = 1000  # thresholds along each kind of pair that is weighed


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
        """The error rate where as many different pairs are accepted as same pairs are rejected."""
        gap = self.far + self.tar - 1
        return float("nan") if np.isnan(gap[-1]) else float(np.interp(0, gap, self.far))

    @property
    def eer_threshold(self) -> float:
        """The similarity from which on pairs are accepted at the equal error rate."""
        gap = self.far + self.tar - 1
        return float("nan") if np.isnan(gap[-1]) else float(self.thresholds[np.argmax(gap >= 0)])

    def tar_at(self, far: float) -> float:
        """Share of same pairs accepted at the threshold where at most this share of different pairs is."""
        return float(self.tars_at(np.array([far]))[0])

    def tars_at(self, far: Rates) -> Rates:
        """`tar_at` of each rate (F,)."""
        if np.isnan(self.far[-1] + self.tar[-1]):
            return np.full(len(far), np.nan)
        return self.tar[np.searchsorted(self.far, far, side="right") - 1]


def verification(vectors: Vectors, labels: NDArray[np.integer], protocol: Protocol = EVERY_OTHER) -> Roc:
    """The ROC of "same class?" by cosine, over every pair of a query and an image that it may find, each pair once.

    Pairs are counted into BINS bins of cosine, block by block, so that memory does not grow with their number.
    """
    same, every = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    for rows, least, counted, cosines in _blocks(vectors, protocol):
        bins = ((cosines[counted] + 1) * (BINS / 2)).astype(np.int64).clip(0, BINS - 1)
        every += np.bincount(bins, minlength=BINS)
        agree = labels[rows, None] == labels[least:]
        same += np.bincount(bins[agree[counted]], minlength=BINS)
    filled = np.flatnonzero(every)[::-1]
    accepted, passed = np.cumsum(same[filled]), np.cumsum(every[filled])
    with np.errstate(invalid="ignore"):
        tar = accepted / same.sum()
        far = (passed - accepted) / (every - same).sum()
    # At an infinite threshold nothing is accepted.
    curve = (np.append(0, far), np.append(0, tar), np.append(np.inf, filled * 2 / BINS - 1))
    return Roc(*curve, same=int(same.sum()), different=int((every - same).sum()))


def _blocks(vectors: Vectors, protocol: Protocol) -> Iterator[tuple[Indices, int, NDArray[np.bool_], Vectors]]:
    """Blocks of queries (B,), the image from which on they are compared, the pairs that count (B, M), the cosines."""
    step = max(1, min(BLOCK, CELLS // max(len(vectors), 1)))
    queries = protocol.queries(len(vectors))
    for start in range(0, len(queries), step):
        rows = queries[start : start + step]
        least = start if protocol.is_leave_one_out else 0  # all earlier pairs are counted
        yield rows, least, _counted(protocol, rows, len(vectors))[:, least:], vectors[rows] @ vectors[least:].T


def _counted(protocol: Protocol, rows: Indices, images: int) -> NDArray[np.bool_]:
    """(B, N): the pairs that queries at these positions count; one of two queries by the first of them."""
    mutual = np.zeros(images, bool)
    mutual[protocol.queries(images)] = True
    mutual &= protocol.in_gallery(images)
    earlier = mutual & (np.arange(images) < rows[:, None])
    return protocol.may_find(rows, images) & ~(earlier & mutual[rows, None])


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Pairs of one kind, most similar first. first, second: (P,) images; ends: (T,) pairs accepted at a threshold."""

    first: Indices
    second: Indices
    ends: Indices

    def rates(self, counts: NDArray[np.float32]) -> Rates:
        """(R, T): the share accepted at each threshold, of pairs that weigh the product of their images' counts (N, R).

        R at once: adding up the pairs between two thresholds for one R after the other takes five times as long.
        """
        borders, threshold = np.unique(self.ends, return_inverse=True)
        weights = np.zeros((len(borders), counts.shape[1]))
        for number, (start, end) in enumerate(pairwise(borders), 1):
            both = counts.take(self.first[start:end], 0) * counts.take(self.second[start:end], 0)
            weights[number] = both.sum(0)
        accepted = np.cumsum(weights, 0)[threshold].T
        with np.errstate(invalid="ignore"):
            return accepted / accepted[:, -1:]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The same and the different pairs of a labelled set, sorted once, and T thresholds at which they are counted.

    All of them up to ALL_UP_TO; of more, up to DRAWN of each kind, with replacement: the two rates are each within one
    kind, so they stay what they are on average, and their error is far below that of a few thousand images.
    """

    same: _Sorted
    different: _Sorted
    thresholds: Rates
    drawn: bool

    def rocs(self, counts: NDArray[np.integer]) -> list[Roc]:
        """A ROC for each row of counts (R, N): how often each image is there. No image is a pair with its own copy."""
        weights = np.ascontiguousarray(counts.T, np.float32)
        rates = zip(self.different.rates(weights), self.same.rates(weights), strict=True)
        return [Roc(far, tar, self.thresholds, len(self.same.first), len(self.different.first)) for far, tar in rates]


def pairs_of(
    vectors: Vectors, labels: NDArray[np.integer], seed: int = 0, *, protocol: Protocol = EVERY_OTHER
) -> Pairs:
    """The pairs of a set, vectors (N, D) of unit length, labels (N,) from 0. The same seed draws the same pairs.

    They are those that `verification` counts.
    """
    drawn = _count(protocol, len(labels)) > ALL_UP_TO
    if drawn:
        rng = np.random.default_rng(seed)
        one, other = _drawn(labels, protocol, rng)
        left, right = _drawn(np.zeros_like(labels), protocol, rng)
        apart = labels[left] != labels[right]
        first, second = np.append(one, left[apart]), np.append(other, right[apart])
        parts = np.array_split(np.arange(len(first)), 1 + len(first) * vectors.shape[1] // CELLS)
        cosines = [np.einsum("pd,pd->p", vectors[first[part]], vectors[second[part]]) for part in parts]
        scores = np.concatenate(cosines)
    else:
        first, second, scores = _every(vectors, protocol)
    is_same = labels[first] == labels[second]
    thresholds = _thresholds(scores[is_same], scores[~is_same])
    same, different = (_sorted(first[kind], second[kind], scores[kind], thresholds) for kind in (is_same, ~is_same))
    return Pairs(same, different, thresholds, drawn)


def _every(vectors: Vectors, protocol: Protocol) -> tuple[Indices, Indices, NDArray[np.float32]]:
    """All pairs that count: their images and their cosines, (P,) each."""
    found = [(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.float32))]
    for rows, least, counted, cosines in _blocks(vectors, protocol):
        row, column = np.nonzero(counted)
        found.append((rows[row], column + least, cosines[counted]))
    first, second, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return first, second, scores


def _count(protocol: Protocol, images: int) -> int:
    """How many pairs count: of a query and an image that it may find, those of two queries once."""
    mutual = protocol.asking(images) & protocol.in_gallery(images)
    one_class = np.zeros(images, np.intp)
    ordered, twice = (
        int(one.relevant(one_class).sum()) for one in (protocol, replace(protocol, asks=mutual, found=mutual))
    )
    return ordered - twice // 2


def _drawn(labels: NDArray[np.integer], protocol: Protocol, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Up to DRAWN pairs of one label that count, all equally likely: a query, and an image that it may find."""
    relevant = protocol.relevant(labels)
    if not relevant.any():
        return np.empty(0, np.intp), np.empty(0, np.intp)
    first = rng.choice(len(labels), DRAWN, p=relevant / relevant.sum())
    # The images found lie class by class, and in each class group by group; after a query's own group it goes round.
    group = protocol.group_numbers(len(labels))
    there = np.flatnonzero(protocol.in_gallery(len(labels)))
    there = there[np.lexsort((group[there], labels[there]))]
    kind, number = labels[there], labels * (group.max() + 1) + group
    start, end = (np.searchsorted(kind, labels[first], side=side) for side in ("left", "right"))
    beyond = np.searchsorted(number[there], number[first], side="right") + rng.integers(0, relevant[first])
    second = there[start + (beyond - start) % (end - start)]
    mutual = protocol.asking(len(labels)) & protocol.in_gallery(len(labels))
    twice = mutual[first] & mutual[second]  # two queries that find each other are drawn from both ends
    kept = (first < second) | ~twice | twice.all()
    return first[kept], second[kept]


def _thresholds(same: NDArray[np.float32], different: NDArray[np.float32]) -> Rates:
    """(T,): falling, from infinity down to the least score. Dense where few different pairs are accepted."""
    chosen = [np.array([np.inf])]
    for scores, spacings in ((same, (np.linspace,)), (different, (np.linspace, np.geomspace))):
        if len(scores):
            ranks = np.concatenate([spaced(1, len(scores), STEPS) for spaced in spacings])
            chosen.append(np.sort(scores)[::-1][np.unique(ranks.round().astype(int)) - 1])
    return np.unique(np.concatenate(chosen))[::-1].astype(np.float64)


def _sorted(first: Indices, second: Indices, scores: NDArray[np.float32], thresholds: Rates) -> _Sorted:
    order = np.argsort(-scores)
    ends = np.searchsorted(-scores[order], -thresholds, side="right")
    return _Sorted(first[order], second[order], ends)

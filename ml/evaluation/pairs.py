"""Pairs of pictures, sorted by similarity once, so that their ROC under other weights of the pictures is only a sum."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.verification import Rates, Roc
from umbel.base.types import Vectors

Indices = NDArray[np.intp]

ALL_UP_TO = 8_000_000  # pairs; 4,000 pictures
DRAWN = 2_000_000  # pairs of each kind where there are more
STEPS = 1000  # thresholds along each kind of pair
CELLS = 2**17  # weights of pairs in the making at once: they stay in a core's cache, at four times the speed


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Pairs of one kind, most similar first. first, second: (P,) pictures; ends: (T,) pairs accepted at a threshold."""

    first: Indices
    second: Indices
    ends: Indices

    def accepted(self, counts: NDArray[np.float32]) -> Rates:
        """(T, R): the weight of the pairs accepted at each threshold. counts: (N, R), the weight of each picture.

        A pair weighs the product of its two pictures' weights.
        """
        steps = np.arange(0, len(self.first), max(1, CELLS // counts.shape[1]))
        borders = np.unique(np.concatenate([[0], self.ends, steps, [len(self.first)]]))
        weights = np.zeros((len(borders), counts.shape[1]))
        for number, (start, end) in enumerate(pairwise(borders), 1):
            both = counts.take(self.first[start:end], 0)
            both *= counts.take(self.second[start:end], 0)
            weights[number] = np.ones(end - start, np.float32) @ both
        return np.cumsum(weights, 0)[np.searchsorted(borders, self.ends)]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The same and the different pairs of a labelled set, and T thresholds at which they are counted.

    All of them up to ALL_UP_TO; of more, DRAWN of each kind, with replacement: the two rates are each within one kind,
    so they stay what they are on average, and their error is far below that of a few thousand pictures.
    """

    same: _Sorted
    different: _Sorted
    thresholds: Rates
    drawn: bool

    def rocs(self, counts: NDArray[np.integer]) -> Iterator[Roc]:
        """The ROC for each row of counts (R, N): how often each picture is there. A picture is no pair with itself."""
        step = max(64, min(512, CELLS // counts.shape[1]))
        blocks = [counts[start : start + step] for start in range(0, len(counts), step)]
        with ThreadPoolExecutor() as pool:
            for far, tar in pool.map(self._rates, blocks):
                for one, other in zip(far, tar, strict=True):
                    yield Roc(one, other, self.thresholds, len(self.same.first), len(self.different.first))

    def _rates(self, counts: NDArray[np.integer]) -> tuple[Rates, Rates]:
        weights = np.ascontiguousarray(counts.T, dtype=np.float32)
        far, tar = self.different.accepted(weights), self.same.accepted(weights)
        with np.errstate(invalid="ignore"):
            return (far / far[-1]).T, (tar / tar[-1]).T


def pairs_of(vectors: Vectors, labels: NDArray[np.integer], seed: int = 0) -> Pairs:
    """The pairs of a set, vectors (N, D) of unit length, labels (N,). The same seed draws the same pairs."""
    drawn = len(labels) * (len(labels) - 1) // 2 > ALL_UP_TO
    if drawn:
        first, second = _drawn(labels, np.random.default_rng(seed))
        scores = _cosines(vectors, first, second)
    else:
        first, second = np.triu_indices(len(labels), 1)
        scores = (vectors @ vectors.T)[first, second]
    same = labels[first] == labels[second]
    thresholds = _thresholds(scores[same], scores[~same])
    one, other = (_sorted(first[kind], second[kind], scores[kind], thresholds) for kind in (same, ~same))
    return Pairs(one, other, thresholds, drawn)


def _drawn(labels: NDArray[np.integer], rng: np.random.Generator) -> tuple[Indices, Indices]:
    """DRAWN same pairs and about as many different ones."""
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    starts = np.cumsum(sizes) - sizes
    pairs = sizes * (sizes - 1.0)
    chosen = rng.choice(len(sizes), DRAWN if pairs.any() else 0, p=pairs / max(pairs.sum(), 1) if pairs.any() else None)
    one = rng.integers(0, sizes[chosen])
    other = (one + rng.integers(1, sizes[chosen])) % sizes[chosen]  # another one of the class, all equally likely
    left, right = rng.integers(0, len(labels), (2, DRAWN))
    apart = labels[left] != labels[right]
    same = order[starts[chosen] + one], order[starts[chosen] + other]
    return np.append(same[0], left[apart]), np.append(same[1], right[apart])


def _cosines(vectors: Vectors, first: Indices, second: Indices) -> NDArray[np.float32]:
    step = max(1, CELLS // vectors.shape[1])
    parts = [slice(start, start + step) for start in range(0, len(first), step)]
    return np.concatenate([np.einsum("pd,pd->p", vectors[first[part]], vectors[second[part]]) for part in parts])


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

"""Fitting a calibration: what a model's distances and votes are worth, learnt on labelled pictures.

Every picture is a query twice: once with its class in the gallery, where the best label may be right, and once with its
class taken out, where nothing but "unknown" is. So no classes have to be kept aside for being unknown. Where the
gallery in use will be another than the pictures at hand, as in training, votes are cast in several galleries drawn from
them: all of them, few pictures a class, few classes. Only two things are asked of a vote, its share and its nearest
distance, since those keep their meaning from gallery to gallery; measured with others in
docs/explanation/calibration.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import structlog
from numpy.typing import NDArray

from umbel.base.types import Vectors
from umbel.models.calibration import Calibration, Distances, Fitted, Threshold, VoteRule
from umbel.search import known_votes as voting
from umbel.search.known_votes import Votes
from umbel.search.vote import K, Tally, tally

Labels = NDArray[np.integer]
Galleries = Sequence[tuple[int | None, int | None]]

LEAST = 30  # pictures with another of their class; fewer say nothing about rare errors
QUERIES = 1000  # most pictures of a set that ask, in each gallery
ASKED = 100  # of them at once: in the largest gallery their distances take 8 MB
TEMPERATURES = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2)
# Galleries drawn from each set: so many classes, so many pictures of each; None: all there are.
WHOLE: Galleries = ((None, None),)
GALLERIES: Galleries = (*WHOLE, (None, 3), (20, None), (5, None), (5, 3))
STEPS = 4001  # distances at which rates are read, from 0 to 2
PAIRED = 4000  # most pictures of a set whose pairs are measured
BLOCK = 500  # pictures whose pairs are measured at once

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Labelled:
    """Embeddings of labelled pictures, a gallery of its own: vectors (N, D) unit length, labels (N,) integers.

    Pictures alone in their class are in the gallery, and are not asked for. asks: (N,), which may be asked for; None:
    all. groups: (N,), numbers of duplicate groups, of which a picture finds none of its own; None: each is by itself.
    """

    name: str
    vectors: Vectors
    labels: Labels
    asks: NDArray[np.bool_] | None = None
    groups: NDArray[np.intp] | None = None

    @cached_property
    def askable(self) -> NDArray[np.intp]:
        """Positions of the pictures with another of their class; none where they are not of two classes at least."""
        _, number, sizes = np.unique(self.labels, return_inverse=True, return_counts=True)
        _, shown, alike = np.unique(
            np.stack([number, self.group_numbers()]), axis=1, return_inverse=True, return_counts=True
        )
        possible = sizes[number] > alike[shown]
        if self.asks is not None:
            possible &= self.asks
        return np.flatnonzero(possible) if (sizes > 1).sum() > 1 else np.empty(0, np.intp)

    def group_numbers(self) -> NDArray[np.intp]:
        """(N,): the number of each picture's duplicate group."""
        return np.arange(len(self.labels)) if self.groups is None else self.groups


def fit(
    sets: Sequence[Labelled],
    *,
    seed: int,
    k: int = K,
    description: str = "labelled pictures",
    labels: Sequence[str] = (),
    galleries: Galleries = GALLERIES,
) -> Calibration | None:
    """The calibration of a model from embeddings of pictures it was not trained on. The same seed, the same result.

    labels: what the classes are called, kept with it. None, with a warning in the log, where the sets have fewer than
    LEAST pictures to ask for, or none with two classes.
    """
    usable = [one for one in sets if len(one.askable)]
    pictures = sum(len(one.askable) for one in usable)
    if pictures < LEAST:
        log.warning("not_calibrated", reason="too few labelled pictures", pictures=pictures, needed=LEAST)
        return None
    temperature = _temperature(usable, k, seed)
    cast = voting.joined(list(_all_votes(usable, k, temperature, seed, galleries)))
    rule = voting.fitted(cast)
    outside = voting.cross_fitted(cast, seed)
    threshold, reason = voting.unknown_below(outside, cast)
    return Calibration(
        distances=_distances(usable),
        vote=VoteRule(
            k=k,
            temperature=temperature,
            intercept=rule.intercept,
            share_gain=rule.share_gain,
            distance_loss=rule.distance_loss,
            unknown_below=threshold,
        ),
        quality=voting.quality(outside, cast, threshold),
        fitted=Fitted(
            description=description,
            sets=[one.name for one in usable],
            pictures=pictures,
            classes=sum(len(np.unique(one.labels[one.askable])) for one in usable),
            labels=list(labels),
            votes=len(cast.share),
            threshold_rule=reason,
        ),
    )


def _all_votes(
    sets: Sequence[Labelled], k: int, temperature: float, seed: int, galleries: Galleries
) -> Iterator[Votes]:
    """The votes of every set in every gallery drawn from it; each such round weighs the same."""
    for number, one in enumerate(sets):
        labels = np.unique(one.labels, return_inverse=True)[1]
        rng = np.random.default_rng((seed, number))
        for classes, each in galleries:
            if classes is None or classes < labels.max() + 1:
                gallery = _gallery(labels, classes, each, rng)
                queries = np.sort(rng.permutation(one.askable)[:QUERIES])
                parts = (queries[at : at + ASKED] for at in range(0, len(queries), ASKED))
                asked = [
                    answer
                    for part in parts
                    for answer in _asked(one, labels, part, gallery, k=k, temperature=temperature)
                ]
                if not asked:  # the gallery drawn holds nothing but duplicates of the queries
                    continue
                share, nearest, right, known, kind = (np.array(part) for part in zip(*asked, strict=True))
                yield voting.weighted(share, nearest, right=right, known=known, kind=kind + (number << 32))


def _gallery(labels: Labels, classes: int | None, each: int | None, rng: np.random.Generator) -> NDArray[np.intp]:
    """Positions of so many pictures (None: all) of so many classes, at random."""
    order = rng.permutation(len(labels))
    chosen = rng.permutation(labels.max() + 1)[:classes]
    return np.concatenate([order[labels[order] == label][:each] for label in chosen])


def _asked(
    one: Labelled,
    labels: Labels,
    queries: NDArray[np.intp],
    gallery: NDArray[np.intp],
    *,
    k: int,
    temperature: float,
) -> Iterator[tuple[float, float, bool, bool, int]]:
    """Ask with each query once with its class in the gallery, if it is there, and once without.

    Yields share and nearest distance of the best label, whether it was right, whether it could be, the query's class.
    """
    distance = (1 - one.vectors[queries] @ one.vectors[gallery].T).clip(0, 2)
    groups = one.group_numbers()
    distance[groups[queries, None] == groups[gallery]] = np.inf  # a picture is not in its own gallery
    own = labels[queries, None] == labels[gallery]
    for row, kind in enumerate(labels[queries].tolist()):
        with_it, without = distance[row], np.where(own[row], np.inf, distance[row])
        for known, there in ((True, with_it), (False, without)):
            possible = np.isfinite(there[own[row]]).any() if known else np.isfinite(there).any()
            if possible:
                best = _best(there, labels[gallery], k, temperature)
                yield best.share, best.nearest, known and best.label == kind, known, kind


def _best(distances: NDArray[np.float32], labels: Labels, k: int, temperature: float) -> Tally[int]:
    """The best label of a gallery in which at least one distance is finite."""
    near = np.argpartition(distances, min(k, len(distances) - 1))[: k + 1]
    near = near[np.isfinite(distances[near])]
    return tally(distances[near].tolist(), labels[near].tolist(), k=k, temperature=temperature)[0]


def _temperature(sets: Sequence[Labelled], k: int, seed: int) -> float:
    """The temperature whose votes give the right label the largest share (mean logarithm), in the whole galleries."""
    asked = [_neighbourhoods(one, k, np.random.default_rng((seed, number))) for number, one in enumerate(sets)]

    def likelihood(temperature: float) -> float:
        means = []
        for queries in asked:
            shares = []
            for distances, labels, own in queries:
                found = tally(distances, labels, k=k, temperature=temperature)
                shares.append(sum(one.share for one in found if one.label == own))
            means.append(np.log(np.maximum(shares, 0.01)).mean())
        return float(np.mean(means))

    return max(TEMPERATURES, key=likelihood)


def _neighbourhoods(one: Labelled, k: int, rng: np.random.Generator) -> list[tuple[list[float], list[int], int]]:
    """Distances and labels of the k nearest others of some pictures, and each picture's own label."""
    found, groups = [], one.group_numbers()
    for query in rng.permutation(one.askable)[: QUERIES // 2]:
        distances = (1 - one.vectors @ one.vectors[query]).clip(0, 2)
        distances[groups == groups[query]] = np.inf
        near = np.argsort(distances)[:k]
        near = near[np.isfinite(distances[near])]
        found.append((distances[near].tolist(), one.labels[near].tolist(), int(one.labels[query])))
    return found


def _distances(sets: Sequence[Labelled]) -> Distances:
    """Thresholds on the distance of a pair; rates are the mean over the sets, pairs within a set only."""
    rates = [_rates(one) for one in sets]
    far, tar = (np.mean([one[which] for one in rates], axis=0) for which in (0, 1))

    def threshold(at: int) -> Threshold:
        return Threshold(distance=round(2 * at / (STEPS - 1), 4), tar=float(tar[at]), far=float(far[at]))

    equal = int(np.argmax(far >= 1 - tar))
    return Distances(
        eer=threshold(equal),
        far_1e2=threshold(max(int(np.searchsorted(far, 0.01, side="right")) - 1, 0)),
        far_1e3=threshold(max(int(np.searchsorted(far, 0.001, side="right")) - 1, 0)),
    )


def _rates(one: Labelled) -> tuple[voting.Numbers, voting.Numbers]:
    """(STEPS,) each: the share of pairs of different classes, and of one class, within each distance from 0 to 2."""
    chosen = _paired(one.labels)
    vectors, labels, groups = one.vectors[chosen], one.labels[chosen], one.group_numbers()[chosen]
    asks = np.ones(len(labels), bool) if one.asks is None else one.asks[chosen]
    counts = np.zeros((2, STEPS))
    for start in range(0, len(labels), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(labels)))
        later = (np.arange(len(labels)) > rows[:, None]) & (groups[rows, None] != groups)
        later &= asks[rows, None] | asks
        step = np.ceil((1 - vectors[rows] @ vectors.T) * ((STEPS - 1) / 2)).clip(0, STEPS - 1).astype(np.int64)
        same = labels[rows, None] == labels
        for which, pairs in enumerate((later & ~same, later & same)):
            counts[which] += np.bincount(step[pairs], minlength=STEPS)
    far, tar = counts.cumsum(1) / counts.sum(1, keepdims=True).clip(1)
    return far, tar


def _paired(labels: Labels) -> NDArray[np.intp]:
    """Positions of up to PAIRED pictures: of a large set some of each class, as many as fit, two at least."""
    _, number, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(number, kind="stable")
    nth = np.arange(len(order)) - np.repeat(sizes.cumsum() - sizes, sizes)
    return order[(nth < max(PAIRED // len(sizes), 2)) | (len(order) <= PAIRED)][:PAIRED]

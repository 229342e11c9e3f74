"""How good embeddings are: retrieval, the vote of `identify`, and the figures of verification, leave-one-out.

Everywhere: vectors (N, D) unit length, labels (N,) integers. Each image is a query once, against all the others, unless
a `Protocol` says otherwise. One whose class has no other image to find is left out as a query and stays in the gallery
to distract.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.protocol import EVERY_OTHER, Protocol
from ml.evaluation.verification import Roc, verification
from umbel.base.types import Vectors
from umbel.search.vote import TEMPERATURE, K, tally

Labels = NDArray[np.integer]
Scores = NDArray[np.float32]
Numbers = NDArray[np.float64]

BLOCK = 1024  # most queries at once
CELLS = 2**24  # similarities ranked at once: with their order and copies about 300 MiB


@dataclass(frozen=True, slots=True)
class Metrics:
    """All in [0, 1], NaN where there was no query. Higher is better, but for `eer`."""

    r_at_1: float
    r_at_5: float
    r_at_10: float
    r_precision: float
    map_at_r: float
    knn_macro_f1: float
    auc: float
    eer: float
    tar_at_far_1e2: float
    tar_at_far_1e3: float
    pictures: int
    classes: int

    def as_dict(self, digits: int = 4) -> dict[str, float]:
        """For JSON, rounded."""
        return {name: round(value, digits) for name, value in asdict(self).items()}


def measure(vectors: Vectors, labels: Labels, protocol: Protocol = EVERY_OTHER) -> Metrics:
    """Every metric of this module over one labelled set."""
    return summary(rank(vectors, labels, protocol), verification(vectors, labels, protocol))


@dataclass(frozen=True)
class Rankings:
    """What each of N images got as a query: what all ranking metrics are means of.

    labels, predicted: (N,) in [0, C), predicted by the vote; asks: (N,), which are queries; relevant: (N,) how many
    they can find of their class;
    nearest: (N, K) indices of the K ≤ max(k, 10) most similar, nearest first, and their similarity (N, K), -inf where
    there is none; r_precision, average_precision: (N,) in [0, 1], NaN where nothing is relevant.
    The rows of images that ask for nothing are empty: nothing relevant, nothing found.
    """

    labels: Labels
    asks: NDArray[np.bool_]
    relevant: Labels
    nearest: NDArray[np.intp]
    similarity: Scores
    predicted: Labels
    r_precision: Numbers
    average_precision: Numbers

    @cached_property
    def is_query(self) -> NDArray[np.bool_]:
        """(N,): which images ask, have another of their class to find, and so count as queries."""
        return self.relevant > 0

    @cached_property
    def hits(self) -> NDArray[np.bool_]:
        """(N, K): which of the nearest are of the query's class."""
        return (self.labels[self.nearest] == self.labels[:, None]) & np.isfinite(self.similarity)


def rank(
    vectors: Vectors,
    labels: Labels,
    protocol: Protocol = EVERY_OTHER,
    *,
    k: int = K,
    temperature: float = TEMPERATURE,
) -> Rankings:
    """Let every image that asks be a query; the k nearest vote on its label as they do in the service.

    temperature: of the vote, see umbel.search.vote.
    """
    labels = np.unique(labels, return_inverse=True)[1]
    relevant = protocol.relevant(labels)
    kept = min(len(labels) - 1, max(k, 10))
    nearest, similarity = np.zeros((len(labels), kept), np.intp), np.full((len(labels), kept), -np.inf, np.float32)
    r_precision, average_precision = np.full((2, len(labels)), np.nan)
    predicted = labels.copy()
    for rows, order, found in _ranked(vectors, protocol, max(kept, int(relevant.max(initial=0)))):
        hits = (labels[order] == labels[rows, None]) & np.isfinite(found)
        nearest[rows], similarity[rows] = order[:, :kept], found[:, :kept]
        r_precision[rows], average_precision[rows] = precisions_at_r(hits, relevant[rows])
        predicted[rows] = vote(labels[order[:, :k]], found[:, :k], labels[rows], temperature)
    return Rankings(
        labels, protocol.asking(len(labels)), relevant, nearest, similarity, predicted, r_precision, average_precision
    )


def summary(rankings: Rankings, roc: Roc, counts: NDArray[np.integer] | None = None) -> Metrics:
    """The means over the queries, and the ROC's figures. counts: (N,), how often each image counts; None: once."""
    is_query = rankings.is_query
    weights = (np.ones(len(is_query), int) if counts is None else counts)[is_query]
    hits = rankings.hits[is_query]

    def mean(values: Numbers | NDArray[np.bool_]) -> float:
        return float(values @ weights / weights.sum()) if weights.any() else float("nan")

    return Metrics(
        r_at_1=mean(hits[:, :1].max(1, initial=False)),
        r_at_5=mean(hits[:, :5].max(1, initial=False)),
        r_at_10=mean(hits[:, :10].max(1, initial=False)),
        r_precision=mean(rankings.r_precision[is_query]),
        map_at_r=mean(rankings.average_precision[is_query]),
        knn_macro_f1=macro_f1(rankings.labels[is_query], rankings.predicted[is_query], weights),
        auc=roc.auc,
        eer=roc.eer,
        tar_at_far_1e2=roc.tar_at(0.01),
        tar_at_far_1e3=roc.tar_at(0.001),
        pictures=int(rankings.asks.sum()),
        classes=len(np.unique(rankings.labels[rankings.asks])),
    )


def _ranked(
    vectors: Vectors, protocol: Protocol, depth: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], Scores]]:
    """Blocks of queries: their indices (B,), the `depth` most similar others of each (B, depth), and their cosines.

    Those that a query may not find are at −inf. Ties go to the lower index, but which of those that tie for the last
    place are in is left to NumPy.
    """
    step = max(1, min(BLOCK, CELLS // max(len(vectors), 1)))
    queries = protocol.queries(len(vectors))
    for start in range(0, len(queries), step):
        rows = queries[start : start + step]
        distance = -(vectors[rows] @ vectors.T)
        distance[~protocol.may_find(rows, len(vectors))] = np.inf
        near = np.sort(np.argpartition(distance, depth - 1)[:, :depth])
        order = np.take_along_axis(near, np.argsort(np.take_along_axis(distance, near, 1), kind="stable"), 1)
        yield rows, order, -np.take_along_axis(distance, order, 1)


def precisions_at_r(hits: NDArray[np.bool_], relevant: Labels) -> tuple[Numbers, Numbers]:
    """(N,) each: R-precision and average precision at R, R being how many other images a query's class has.

    The first is the share of the class among the R nearest; the second the mean over the ranks up to R of the precision
    at each hit, 0 at each miss: its mean is MAP@R. hits: (N, ≥max(R)), nearest first; relevant: (N,), each query's R.
    NaN where R is 0. Source: Musgrave et al. 2020, arXiv:2003.08505, section 3.2.
    """
    ranks = np.arange(1, hits.shape[1] + 1)
    counted = hits & (ranks <= relevant[:, None])
    with np.errstate(invalid="ignore"):
        return counted.sum(1) / relevant, (counted.cumsum(1) / ranks * counted).sum(1) / relevant


def vote(labels: Labels, similarity: Scores, otherwise: Labels, temperature: float = TEMPERATURE) -> Labels:
    """(N,): the label that the neighbors vote for, by the vote that `identify` serves.

    labels, similarity: (N, k), of the neighbors, -inf where there is none; otherwise: (N,), of those without neighbors.
    """
    found = otherwise.copy()
    for row, (near, own) in enumerate(zip(1 - similarity.clip(-1, 1), labels, strict=True)):
        there = np.isfinite(similarity[row])
        if there.any():
            voters = near[there].tolist(), own[there].tolist()
            found[row] = tally(*voters, k=len(voters[0]), temperature=temperature)[0].label
    return found


def macro_f1(labels: Labels, predicted: Labels, weights: NDArray[np.number]) -> float:
    """F1 of the predictions averaged over the classes. A class without weight is left out; NaN without any weight.

    labels, predicted: (N,); weights: (N,), how much each image counts.
    """
    from sklearn.metrics import f1_score  # noqa: PLC0415 - takes a second to import

    present = np.unique(labels[weights > 0])
    if not len(present):
        return float("nan")
    return float(f1_score(labels, predicted, labels=present, average="macro", sample_weight=weights, zero_division=0))

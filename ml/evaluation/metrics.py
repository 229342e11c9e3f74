"""How good embeddings are: retrieval, a k-NN vote, and the figures of verification, leave-one-out.

Everywhere: vectors (N, D) unit length, labels (N,) integers. Each image is a query once, against all the others. One
that is alone in its class matches no other: it is left out as a query and stays in the gallery to distract.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.verification import Roc, verification
from umbel.base.types import Vectors

Labels = NDArray[np.integer]
Scores = NDArray[np.float32]
Numbers = NDArray[np.float64]

BLOCK = 1024  # most queries at once
CELLS = 2**24  # similarities ranked at once: with their order and copies about 300 MiB
KNN = 11


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


def measure(vectors: Vectors, labels: Labels, k: int = KNN) -> Metrics:
    """Every metric of this module over one labelled set, leave-one-out."""
    return summary(rank(vectors, labels, k), verification(vectors, labels))


@dataclass(frozen=True)
class Rankings:
    """What each of N images got as a query: what all ranking metrics are means of.

    labels, predicted: (N,) in [0, C), predicted by the k-NN vote; relevant: (N,) how many more there are of its class;
    nearest: (N, K) indices of the K = min(N − 1, max(k, 10)) most similar, nearest first, and their similarity (N, K);
    r_precision, average_precision: (N,) in [0, 1], NaN for an image alone in its class.
    """

    labels: Labels
    relevant: Labels
    nearest: NDArray[np.intp]
    similarity: Scores
    predicted: Labels
    r_precision: Numbers
    average_precision: Numbers

    @cached_property
    def is_query(self) -> NDArray[np.bool_]:
        """(N,): which images have another of their class, and so count as queries."""
        return self.relevant > 0

    @cached_property
    def hits(self) -> NDArray[np.bool_]:
        """(N, K): which of the nearest are of the query's class."""
        return self.labels[self.nearest] == self.labels[:, None]


def rank(vectors: Vectors, labels: Labels, k: int = KNN) -> Rankings:
    """Let every image be a query against all the others; the k nearest vote on its label."""
    labels = np.unique(labels, return_inverse=True)[1]
    relevant = np.bincount(labels)[labels] - 1
    kept = min(len(labels) - 1, max(k, 10))
    parts = []
    for rows, order, similarity in _ranked(vectors, max(kept, int(relevant.max()))):
        hits = labels[order] == labels[rows, None]
        # Copies: a view would keep the whole block.
        parts.append((order[:, :kept].copy(), similarity[:, :kept].copy(), *precisions_at_r(hits, relevant[rows])))
    nearest, similarity, r_precision, average_precision = (np.concatenate(part) for part in zip(*parts, strict=True))
    predicted = vote(labels[nearest[:, :k]], similarity[:, :k])
    return Rankings(labels, relevant, nearest, similarity, predicted, r_precision, average_precision)


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
        pictures=len(rankings.labels),
        classes=int(rankings.labels.max()) + 1,
    )


def _ranked(vectors: Vectors, depth: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], Scores]]:
    """Blocks of queries: their indices (B,), the `depth` most similar others of each (B, depth), and their cosines.

    Ties go to the lower index, but which of those that tie for the last place are in is left to NumPy.
    """
    step = max(1, min(BLOCK, CELLS // len(vectors)))
    for start in range(0, len(vectors), step):
        distance = -(vectors[start : start + step] @ vectors.T)
        rows = np.arange(len(distance))
        distance[rows, start + rows] = np.inf  # an image is not its own neighbor
        near = np.sort(np.argpartition(distance, depth - 1)[:, :depth])
        order = np.take_along_axis(near, np.argsort(np.take_along_axis(distance, near, 1), kind="stable"), 1)
        yield start + rows, order, -np.take_along_axis(distance, order, 1)


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


def vote(labels: Labels, similarity: Scores) -> Labels:
    """(N,): the label that the neighbors vote for, each by its similarity; negative ones have no vote.

    labels, similarity: (N, k), of the neighbors. Ties go to the lower label.
    """
    alike = labels[:, :, None] == labels[:, None, :]
    votes = (similarity.clip(min=0)[:, None, :] * alike).sum(2)  # (N, k): for the label of each neighbor
    best = votes == votes.max(1, keepdims=True, initial=0)
    none = np.iinfo(labels.dtype).max
    return np.where(best, labels, none).min(1, initial=none)


def macro_f1(labels: Labels, predicted: Labels, weights: NDArray[np.number]) -> float:
    """F1 of the predictions averaged over the classes. A class without weight is left out; NaN without any weight.

    labels, predicted: (N,); weights: (N,), how much each image counts.
    """
    from sklearn.metrics import f1_score  # noqa: PLC0415 - takes a second to import

    present = np.unique(labels[weights > 0])
    if not len(present):
        return float("nan")
    return float(f1_score(labels, predicted, labels=present, average="macro", sample_weight=weights, zero_division=0))

"""How good embeddings are: retrieval, a k-NN vote, and the figures of verification. Plain NumPy, leave-one-out.

Everywhere: vectors (N, D) unit length, labels (N,) integers. Each picture is a query once, against all the others. One
that is alone in its class is nobody's match: it is left out as a query and stays in the gallery to distract.
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
    """All in [0, 1], NaN where nothing could be asked. Higher is better, but for `eer`."""

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
    """What each of N pictures got as a query: what all ranking metrics are means of.

    labels, predicted: (N,) in [0, C), predicted by the k-NN vote; others: (N,) how many more there are of its class;
    nearest: (N, K) indices of the K = min(N − 1, max(k, 10)) most similar, nearest first, and their similarity (N, K);
    r_precision, average_precision: (N,) in [0, 1], NaN for a picture alone in its class.
    """

    labels: Labels
    others: Labels
    nearest: NDArray[np.intp]
    similarity: Scores
    predicted: Labels
    r_precision: Numbers
    average_precision: Numbers

    @cached_property
    def is_query(self) -> NDArray[np.bool_]:
        """(N,): which pictures have another of their class, and so count as queries."""
        return self.others > 0

    @cached_property
    def hits(self) -> NDArray[np.bool_]:
        """(N, K): which of the nearest are of the query's class."""
        return self.labels[self.nearest] == self.labels[:, None]


def rank(vectors: Vectors, labels: Labels, k: int = KNN) -> Rankings:
    """Let every picture be a query against all the others; the k nearest vote on its label."""
    labels = np.unique(labels, return_inverse=True)[1]
    others = np.bincount(labels)[labels] - 1
    kept = min(len(labels) - 1, max(k, 10))
    found = []
    for rows, order, similarity in _ranked(vectors, max(kept, int(others.max()))):
        hits = labels[order] == labels[rows, None]
        precisions = r_precision(hits, others[rows]), average_precision_at_r(hits, others[rows])
        found.append((order[:, :kept].copy(), similarity[:, :kept].copy(), *precisions))  # views would keep the block
    nearest, similarity, r_precisions, average_precisions = (np.concatenate(part) for part in zip(*found, strict=True))
    predicted = vote(labels[nearest[:, :k]], similarity[:, :k], int(labels.max()) + 1)
    return Rankings(labels, others, nearest, similarity, predicted, r_precisions, average_precisions)


def summary(rankings: Rankings, roc: Roc) -> Metrics:
    """The means over the queries, and the ROC's figures."""
    is_query = rankings.is_query
    everyone = np.ones((1, int(is_query.sum())))
    return Metrics(
        r_at_1=recall_at(rankings.hits[is_query], 1),
        r_at_5=recall_at(rankings.hits[is_query], 5),
        r_at_10=recall_at(rankings.hits[is_query], 10),
        r_precision=_mean(rankings.r_precision[is_query]),
        map_at_r=_mean(rankings.average_precision[is_query]),
        knn_macro_f1=float(macro_f1(rankings.labels[is_query], rankings.predicted[is_query], everyone)[0]),
        auc=roc.auc,
        eer=roc.eer,
        tar_at_far_1e2=roc.tar_at(0.01),
        tar_at_far_1e3=roc.tar_at(0.001),
        pictures=len(rankings.labels),
        classes=len(np.unique(rankings.labels)),
    )


def neighbours(vectors: Vectors, depth: int) -> tuple[NDArray[np.intp], Scores]:
    """The `depth` most similar others of each picture, nearest first: indices (N, depth), cosines (N, depth).

    Ties go to the lower index.
    """
    blocks = ((order.copy(), similarity) for _, order, similarity in _ranked(vectors, depth))
    orders, similarities = zip(*blocks, strict=True)
    return np.concatenate(orders), np.concatenate(similarities)


def _ranked(vectors: Vectors, depth: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], Scores]]:
    """Blocks of queries: their indices (B,), the `depth` most similar others of each (B, depth), and their cosines."""
    step = max(1, min(BLOCK, CELLS // len(vectors)))
    for start in range(0, len(vectors), step):
        block = vectors[start : start + step] @ vectors.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -np.inf  # a picture is not its own neighbour
        order = np.argsort(-block, axis=1, kind="stable")[:, :depth]
        yield start + rows, order, np.take_along_axis(block, order, 1)


def recall_at(hits: NDArray[np.bool_], k: int) -> float:
    """Share of queries with one of their class among the k nearest. hits: (N, ≥k), nearest first."""
    return _mean(hits[:, :k].max(1, initial=False))


def r_precision(hits: NDArray[np.bool_], others: Labels) -> Numbers:
    """(N,): the share of a query's class among its R nearest, R being how many others of the class there are.

    hits: (N, ≥max(others)), nearest first; others: (N,). NaN where R is 0.
    Source: Musgrave et al. 2020, arXiv:2003.08505, section 3.2.
    """
    with np.errstate(invalid="ignore"):
        return _counted(hits, others).sum(1) / others


def average_precision_at_r(hits: NDArray[np.bool_], others: Labels) -> Numbers:
    """(N,): the mean over the ranks up to R of the precision at each hit, 0 at each miss; its mean is MAP@R.

    Arguments and source as for `r_precision`.
    """
    counted = _counted(hits, others)
    precision = np.cumsum(counted, 1) / np.arange(1, hits.shape[1] + 1)
    with np.errstate(invalid="ignore"):
        return (precision * counted).sum(1) / others


def _counted(hits: NDArray[np.bool_], others: Labels) -> NDArray[np.bool_]:
    return hits & (np.arange(1, hits.shape[1] + 1) <= others[:, None])


def vote(neighbour_labels: Labels, similarity: Scores, classes: int) -> Labels:
    """(N,): the label that the neighbours vote for, each by its similarity; negative ones have no vote.

    neighbour_labels, similarity: (N, k), labels in [0, classes). Ties go to the lower label.
    """
    votes = np.zeros((len(similarity), classes))
    np.add.at(votes, (np.arange(len(similarity))[:, None], neighbour_labels), similarity.clip(min=0))
    return votes.argmax(1)


def macro_f1(labels: Labels, predicted: Labels, weights: NDArray[np.number]) -> Numbers:
    """(R,): F1 of the predictions averaged over the classes, once for each row of weights.

    labels, predicted: (N,) from 0; weights: (R, N), how often each picture counts. A class without weight is left out.
    """
    classes = int(max(labels.max(initial=-1), predicted.max(initial=-1))) + 1
    hits = labels == predicted
    scores = np.full(len(weights), np.nan)
    for index, row in enumerate(weights):
        there = np.bincount(labels, row, classes)
        right = np.bincount(labels[hits], row[hits], classes)
        said = np.bincount(predicted, row, classes)
        known = there > 0
        scores[index] = _mean(2 * right[known] / (there + said)[known])
    return scores


def _mean(values: NDArray[np.generic]) -> float:
    return float(values.mean()) if len(values) else float("nan")

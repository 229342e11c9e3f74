"""How good embeddings are: retrieval, a k-NN vote, and verification of pairs. Plain NumPy, leave-one-out.

Everywhere: vectors (N, D) unit length, labels (N,) integers. Each picture is a query once, against all the others.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from core.types import Vectors

Labels = NDArray[np.integer]
Scores = NDArray[np.float32]

BLOCK = 1024  # queries at once: a block of similarities to 100,000 pictures is then 400 MB


@dataclass(frozen=True, slots=True)
class Metrics:
    """All in [0, 1]. Higher is better, but for `eer`. Queries whose class has no other picture are left out."""

    r_at_1: float
    r_at_5: float
    r_at_10: float
    map_at_r: float
    knn_macro_f1: float
    eer: float
    tar_at_far_1e2: float
    tar_at_far_1e3: float
    pictures: int
    classes: int

    def as_dict(self, digits: int = 4) -> dict[str, float]:
        """For JSON, rounded."""
        return {name: round(value, digits) for name, value in asdict(self).items()}


def measure(vectors: Vectors, labels: Labels, k: int = 11) -> Metrics:
    """Every metric of this module over one labelled set, leave-one-out."""
    labels = np.unique(labels, return_inverse=True)[1]
    depth = int(min(len(labels) - 1, max(k, 10, np.bincount(labels).max() - 1)))
    order, similarity = neighbours(vectors, depth)
    hits = labels[order] == labels[:, None]
    others = np.bincount(labels)[labels] - 1
    asked = others > 0
    roc = verification(vectors, labels)
    return Metrics(
        r_at_1=recall_at(hits[asked], 1),
        r_at_5=recall_at(hits[asked], 5),
        r_at_10=recall_at(hits[asked], 10),
        map_at_r=map_at_r(hits[asked], others[asked]),
        knn_macro_f1=knn_macro_f1(labels[order[:, :k]], similarity[:, :k], labels),
        eer=roc.eer,
        tar_at_far_1e2=roc.tar_at(0.01),
        tar_at_far_1e3=roc.tar_at(0.001),
        pictures=len(labels),
        classes=len(np.unique(labels)),
    )


def neighbours(vectors: Vectors, depth: int) -> tuple[NDArray[np.intp], Scores]:
    """The `depth` most similar others of each picture, nearest first: indices (N, depth), cosines (N, depth).

    Ties go to the lower index.
    """
    orders, similarities = [], []
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK] @ vectors.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -np.inf  # a picture is not its own neighbour
        order = np.argsort(-block, axis=1, kind="stable")[:, :depth]
        orders.append(order)
        similarities.append(np.take_along_axis(block, order, 1))
    return np.concatenate(orders), np.concatenate(similarities)


def recall_at(hits: NDArray[np.bool_], k: int) -> float:
    """Share of queries with one of their class among the k nearest. hits: (N, ≥k), nearest first."""
    return float(hits[:, :k].any(1).mean()) if len(hits) else float("nan")


def map_at_r(hits: NDArray[np.bool_], others: NDArray[np.integer]) -> float:
    """Mean average precision at R, R being how many others of the query's class there are.

    hits: (N, ≥max(others)), nearest first; others: (N,), positive.
    Source: Musgrave et al. 2020, arXiv:2003.08505, section 3.2.
    """
    ranks = np.arange(1, hits.shape[1] + 1)
    counted = hits & (ranks <= others[:, None])
    precision = np.cumsum(counted, 1) / ranks
    return float(((precision * counted).sum(1) / others).mean()) if len(hits) else float("nan")


def knn_macro_f1(neighbour_labels: Labels, similarity: Scores, labels: Labels) -> float:
    """F1 of the k-NN vote, each neighbour's vote weighted by its similarity, averaged over the classes.

    neighbour_labels, similarity: (N, k); labels: (N,) in [0, C). Negative similarities have no vote.
    """
    classes = int(labels.max()) + 1
    votes = np.zeros((len(labels), classes))
    np.add.at(votes, (np.arange(len(labels))[:, None], neighbour_labels), similarity.clip(min=0))
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (labels, votes.argmax(1)), 1)
    right = confusion.diagonal()
    # A class nobody has and nobody predicts cannot occur: every label has a row.
    return float((2 * right / (confusion.sum(0) + confusion.sum(1))).mean())


@dataclass(frozen=True, slots=True)
class Roc:
    """Same-class decisions over all pairs, threshold falling. far, tar: (T,) in [0, 1], rising."""

    far: NDArray[np.float64]
    tar: NDArray[np.float64]
    thresholds: NDArray[np.float32]

    @property
    def eer(self) -> float:
        """The error rate where as many different pairs are accepted as same pairs are refused."""
        gap = self.far - (1 - self.tar)
        after = int(np.argmax(gap >= 0))
        if after == 0:
            return float(self.far[0])
        share = gap[after - 1] / (gap[after - 1] - gap[after])  # where the straight line between crosses zero
        return float(self.far[after - 1] + share * (self.far[after] - self.far[after - 1]))

    def tar_at(self, far: float) -> float:
        """Share of same pairs accepted at the threshold where at most this share of different pairs is."""
        return float(self.tar[np.searchsorted(self.far, far, side="right") - 1])


def verification(vectors: Vectors, labels: Labels) -> Roc:
    """The ROC of "same class?" by cosine, over every pair of different pictures, each pair once.

    Memory: 9 bytes a pair. NaN rates when there is no same or no different pair.
    """
    rows, columns = np.triu_indices(len(labels), 1)
    scores = (vectors @ vectors.T)[rows, columns]
    same = labels[rows] == labels[columns]
    order = np.argsort(-scores, kind="stable")
    scores, same = scores[order], same[order]
    last_of_tie = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    accepted = np.cumsum(same)[last_of_tie]
    with np.errstate(invalid="ignore"):
        tar = accepted / same.sum()
        far = (last_of_tie + 1 - accepted) / (~same).sum()
    # At an infinite threshold nothing is accepted.
    start = np.zeros(1)
    return Roc(np.append(start, far), np.append(start, tar), np.append(np.float32(np.inf), scores[last_of_tie]))

"""Two models on the same labelled pictures, and how sure their difference is."""

import numpy as np

from ml.evaluation.intervals import draws, interval
from ml.evaluation.metrics import Labels, Numbers, Rankings, rank
from umbel.base.types import Compared, Comparison, Vectors

RESAMPLES = 1_000


def compare_models(active: Vectors, candidate: Vectors, labels: Labels) -> Comparison:
    """umbel.base.types.Compare: R@1 and MAP@R of both, leave-one-out, with a 95 % interval of the difference.

    Both see the same resamples of the queries, so what is hard for both does not widen the interval.
    """
    one, other = rank(active, labels), rank(candidate, labels)
    is_query = one.is_query
    weights = draws(int(is_query.sum()), RESAMPLES, seed=0).astype(np.float64)
    weights /= weights.sum(1, keepdims=True)
    pairs = {name: (_each(one, name), _each(other, name)) for name in ("r_at_1", "map_at_r")}
    return Comparison(
        queries=int(is_query.sum()),
        classes=len(np.unique(labels[is_query])),
        metrics={name: _compared(*each, weights) for name, each in pairs.items()},
    )


def _each(rankings: Rankings, name: str) -> Numbers:
    """(Q,) what each query adds to a metric."""
    is_query = rankings.is_query
    if name == "r_at_1":
        return rankings.hits[is_query, 0].astype(np.float64)
    return rankings.average_precision[is_query].astype(np.float64)


def _compared(active: Numbers, candidate: Numbers, weights: Numbers) -> Compared:
    sure = interval(weights @ (candidate - active))
    return Compared(
        active=round(float(active.mean()), 4),
        candidate=round(float(candidate.mean()), 4),
        low=round(sure.low, 4),
        high=round(sure.high, 4),
    )

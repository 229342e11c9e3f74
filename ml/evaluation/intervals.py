"""How far chance alone may have moved a metric: bootstrap intervals over resampled pictures.

The set is drawn anew, with replacement, as many pictures as it has, many times over; an interval holds the middle 95 %
of what a metric then comes to (percentile bootstrap). What is drawn are pictures, never pairs: a picture that is hard
to place spoils all its pairs at once, so pairs depend on one another and resampling them would promise far too much.
A picture drawn w times makes its pairs count w times, and is no pair with its own copy, which would be a sure hit. For
the ranking metrics a drawn picture is a query that counts w times, while the gallery it is asked against stays as it
is. All metrics, and all models that are compared, see the same draws, so that a difference of two models has an
interval too: far narrower than theirs, since most of what is hard is hard for both.

Sources: Efron and Tibshirani 1993, chapter 13 (percentiles); Bolle, Ratha and Pankanti 2004, "Error analysis of pattern
recognition systems: the subsets bootstrap" (pairs that share an origin belong together).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.metrics import Metrics, Rankings, macro_f1
from ml.evaluation.pairs import Pairs

Numbers = NDArray[np.float64]
Counts = NDArray[np.uint16]

LEVEL = 0.95
FAR_GRID = np.geomspace(1e-4, 1, 121)  # where the ROC's band is taken
NAMES = tuple(name for name in Metrics.__dataclass_fields__ if name not in ("pictures", "classes"))


@dataclass(frozen=True, slots=True)
class Interval:
    """The middle 95 % of the resamples; NaN where there are none, or the metric has no value."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Replicates:
    """What R resamples come to. metrics: (R,) for each of NAMES; tar: (R, 121) at the rates of FAR_GRID."""

    metrics: dict[str, Numbers]
    tar: Numbers


def draws(pictures: int, count: int, seed: int | tuple[int, ...]) -> Counts:
    """(count, pictures): how often each picture is there in each resample. The same seed gives the same draws."""
    rng = np.random.default_rng(seed)
    counts = [np.bincount(rng.integers(0, pictures, pictures), minlength=pictures) for _ in range(count)]
    return np.array(counts, np.uint16).reshape(count, pictures)


def replicate(rankings: Rankings, pairs: Pairs, counts: Counts) -> Replicates:
    """Every metric of one model under each resample, counts (R, N)."""
    rocs = list(pairs.rocs(counts)) if len(counts) else []
    found = _ranking(rankings, counts[:, rankings.is_query]) | {
        "auc": [roc.auc for roc in rocs],
        "eer": [roc.eer for roc in rocs],
        "tar_at_far_1e2": [roc.tar_at(0.01) for roc in rocs],
        "tar_at_far_1e3": [roc.tar_at(0.001) for roc in rocs],
    }
    tar = np.array([roc.tar[np.searchsorted(roc.far, FAR_GRID, side="right") - 1] for roc in rocs])
    return Replicates({name: np.asarray(found[name], np.float64) for name in NAMES}, tar.reshape(-1, len(FAR_GRID)))


def _ranking(rankings: Rankings, counts: Counts) -> dict[str, Numbers]:
    """The metrics that are means over queries. counts: (R, queries)."""
    is_query = rankings.is_query
    each = {
        "r_at_1": rankings.hits[is_query, :1].any(1),
        "r_at_5": rankings.hits[is_query, :5].any(1),
        "r_at_10": rankings.hits[is_query, :10].any(1),
        "r_precision": rankings.r_precision[is_query],
        "map_at_r": rankings.average_precision[is_query],
    }
    with np.errstate(invalid="ignore"):
        means = counts @ np.stack(list(each.values()), 1).astype(np.float64) / counts.sum(1, keepdims=True)
    f1 = macro_f1(rankings.labels[is_query], rankings.predicted[is_query], counts)
    return dict(zip(each, means.T, strict=True)) | {"knn_macro_f1": f1}


def interval(values: Numbers) -> Interval:
    """The interval of these (R,) replicates, or of their differences to another model's."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Interval(float("nan"), float("nan"))
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(known, [tail, 100 - tail])
    return Interval(float(low), float(high))


def band(tar: Numbers) -> tuple[Numbers, Numbers]:
    """(121,) each: the interval of the true acceptance rate at each rate of FAR_GRID, tar (R, 121), R > 0."""
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(tar[~np.isnan(tar[:, -1])], [tail, 100 - tail], axis=0)
    return low, high

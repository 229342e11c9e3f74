"""How far chance alone may have moved a metric: bootstrap intervals over resampled images.

The set is drawn anew, with replacement, as many images as it has, many times over; an interval holds the middle 95 %
of what a metric then comes to (percentile bootstrap). What is drawn are images, never pairs: an image that is hard to
place spoils all its pairs at once, so pairs depend on one another and resampling them would promise far too much. An
image drawn w times makes its pairs count w times, and is no pair with its own copy, which would be a sure hit. For the
ranking metrics a drawn image is a query that counts w times, while the gallery it is searched in stays as it is. All
metrics, and all models that are compared, see the same draws, so that a difference of two models has an interval too:
far narrower than theirs, since most of what is hard is hard for both.

Sources: Efron and Tibshirani 1993, chapter 13 (percentiles); Bolle, Ratha and Pankanti 2004, "Error analysis of pattern
recognition systems: the subsets bootstrap" (pairs that share an origin belong together).
"""

import warnings
from dataclasses import dataclass

import numpy as np

from ml.evaluation.metrics import Labels, Metrics, Numbers, Rankings, rank, summary
from ml.evaluation.verification import Pairs
from umbel.base.types import Compared, Comparison, Vectors

LEVEL = 0.95
FAR_GRID = np.geomspace(1e-4, 1, 121)  # where the ROC's band is taken
NAMES = tuple(name for name in Metrics.__dataclass_fields__ if name not in ("pictures", "classes"))
BATCH = 25  # resamples at once: of more, the weights of pairs would not stay in a core's cache


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


def replicate(rankings: Rankings, pairs: Pairs, resamples: int, seed: int | tuple[int, ...]) -> Replicates:
    """Every metric of one model in each resample. The same seed draws the same images."""
    from scipy.stats import DegenerateDataWarning, bootstrap  # noqa: PLC0415 - takes a second to import

    images = np.arange(len(rankings.labels))

    def figures(samples: Labels, axis: int) -> Numbers:
        counts = np.array([np.bincount(sample, minlength=len(images)) for sample in samples])
        rocs = pairs.rocs(counts)
        metrics = [summary(rankings, roc, row) for roc, row in zip(rocs, counts, strict=True)]
        columns = [[getattr(one, name) for one in metrics] for name in NAMES]
        return np.concatenate([columns, np.transpose([roc.tars_at(FAR_GRID) for roc in rocs])])

    values = np.empty((len(NAMES) + len(FAR_GRID), 0))
    if resamples:
        options = {"n_resamples": resamples, "batch": BATCH, "method": "percentile", "vectorized": True}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DegenerateDataWarning)  # NaN where a resample has no query: `interval`
            values = bootstrap((images,), figures, rng=np.random.default_rng(seed), **options).bootstrap_distribution
    return Replicates(dict(zip(NAMES, values, strict=False)), values[len(NAMES) :].T)


def interval(values: Numbers) -> Interval:
    """The interval of these (R,) replicates, or of their differences to another model's."""
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(known) else (np.nan, np.nan)
    return Interval(float(low), float(high))


def band(tar: Numbers) -> tuple[Numbers, Numbers]:
    """(121,) each: the interval of the true acceptance rate at each rate of FAR_GRID, tar (R, 121), R > 0."""
    low, high = np.nanquantile(tar, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def compare_models(active: Vectors, candidate: Vectors, labels: Labels, *, by_class: bool = False) -> Comparison:
    """umbel.base.types.Compare: R@1 and MAP@R of both, leave-one-out, with a 95 % interval of the difference.

    Both see the same resamples, so what is hard for both does not widen the interval. by_class: the classes are a
    sample of more, so whole classes are resampled; else the classes are all there are, and the queries are resampled.
    """
    rankings = [rank(vectors, labels) for vectors in (active, candidate)]
    is_query = rankings[0].is_query
    kind = rankings[0].labels[is_query]
    one, other = ((each.hits[is_query, 0].astype(np.float64), each.average_precision[is_query]) for each in rankings)
    drawn = kind if by_class and len(np.unique(kind)) > 1 else None
    return Comparison(
        queries=int(is_query.sum()),
        classes=len(np.unique(kind)),
        metrics={"r_at_1": compared(one[0], other[0], drawn), "map_at_r": compared(one[1], other[1], drawn)},
    )


def compared(active: Numbers, candidate: Numbers, groups: Labels | None = None) -> Compared:
    """The means of what each query adds to a metric, (Q,), and the interval of their difference.

    groups: (Q,), resampled whole, at least two; None: each query is by itself.
    """
    from scipy.stats import bootstrap  # noqa: PLC0415 - takes a second to import

    number = np.arange(len(active)) if groups is None else np.unique(groups, return_inverse=True)[1]
    totals = np.bincount(number, candidate - active), np.bincount(number).astype(np.float64)

    def mean(total: Numbers, count: Numbers, axis: int = -1) -> Numbers:
        return np.asarray(total.sum(axis) / count.sum(axis))

    options = {"n_resamples": 1000, "batch": 100, "method": "percentile", "rng": 0}
    low, high = bootstrap(totals, mean, paired=True, vectorized=True, **options).confidence_interval
    figures = (round(float(figure), 4) for figure in (active.mean(), candidate.mean(), low, high))
    return Compared(*figures)

"""Votes with known outcomes: the rule fitted to them, its threshold, and how good both are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import rankdata

from umbel.models.calibration import Bin, Quality

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

FOLDS = 5
BINS = 10
ACCURATE = 0.95  # of the answers given, at least this share right
USEFUL = 0.1  # share of the known that must still be answered for that
PENALTY = 1e-4  # on the squared coefficients of standardised features: keeps them finite where nothing goes wrong


@dataclass(frozen=True, slots=True)
class Votes:
    """M votes. share, nearest: (M,) of the best label; right: it was; known: the query's class was in the gallery.

    weight: (M,), how much each counts; kind: (M,) integers, the query's class.
    """

    share: Numbers
    nearest: Numbers
    right: Flags
    known: Flags
    weight: Numbers
    kind: NDArray[np.int64]

    def only(self, kept: Flags) -> "Votes":
        """Those marked in kept (M,)."""
        return Votes(
            self.share[kept], self.nearest[kept], self.right[kept], self.known[kept], self.weight[kept], self.kind[kept]
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """umbel.search.vote: share · expit(intercept + share_gain · share − distance_loss · nearest) is being right."""

    intercept: float
    share_gain: float
    distance_loss: float

    def probability(self, votes: Votes) -> Numbers:
        """(M,) in [0, 1]."""
        known: Numbers = expit(self.intercept + self.share_gain * votes.share - self.distance_loss * votes.nearest)
        return votes.share * known


def weighted(share: Numbers, nearest: Numbers, *, right: Flags, known: Flags, kind: NDArray[np.int64]) -> Votes:
    """Votes of one gallery; known and unknown queries weigh one half each, together 1."""
    weight = np.where(known, 0.5 / max(known.sum(), 1), 0.5 / max((~known).sum(), 1))
    return Votes(share, nearest, right, known, weight, kind)


def joined(parts: Sequence[Votes]) -> Votes:
    """All of them."""
    names = Votes.__dataclass_fields__
    return Votes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def fitted(votes: Votes) -> Rule:
    """The rule of the greatest likelihood, in which no larger share speaks against a label, nor a nearer neighbour.

    A logistic regression, but for the share before it: two labels at the same small distance get half each, where a
    plain logistic would be sure of one of them.
    """
    share, right = votes.share, votes.right
    features = np.stack([share, -votes.nearest], 1)
    mean, spread = features.mean(0), features.std(0) + 1e-9
    standard, weight = (features - mean) / spread, votes.weight / votes.weight.sum()

    def loss(parameters: Numbers) -> tuple[float, Numbers]:
        gains = parameters[1:]
        known = expit(parameters[0] + standard @ gains)
        wrong = np.maximum(1 - share * known, 1e-12)
        value = -weight @ np.where(right, np.log(np.maximum(share * known, 1e-300)), np.log(wrong))
        slope = weight * (1 - known) * np.where(right, -1, share * known / wrong)
        return float(value + PENALTY * gains @ gains), np.append(slope.sum(), standard.T @ slope + 2 * PENALTY * gains)

    found = minimize(loss, np.zeros(3), jac=True, method="L-BFGS-B", bounds=[(None, None), (0, None), (0, None)]).x
    gains = found[1:] / spread
    return Rule(float(found[0] - gains @ mean), float(gains[0]), float(gains[1]))


def cross_fitted(votes: Votes, seed: int) -> Numbers:
    """(M,): each vote's probability by a rule fitted without any picture of its query's class."""
    kinds, number = np.unique(votes.kind, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(kinds))[number] % min(FOLDS, len(kinds))
    found = np.empty(len(number))
    for one in range(fold.max() + 1):
        found[fold == one] = fitted(votes.only(fold != one)).probability(votes.only(fold == one))
    return found


def unknown_below(probability: Numbers, votes: Votes) -> tuple[float, str]:
    """The threshold under which to say unknown, and the rule it was chosen by.

    The lowest at which 95 % of what is answered is right, if a tenth of the known is answered then; else the one that
    best parts right from wrong (balanced accuracy). Half of the queries are taken to be of unknown kinds.
    """
    order = np.argsort(-probability, kind="stable")
    falling, weight, right = probability[order], votes.weight[order], votes.right[order]
    last = np.append(falling[1:] < falling[:-1], True)  # a threshold takes all votes of equal probability
    accepted = np.cumsum(weight)
    accuracy = np.cumsum(weight * right) / accepted
    answered = np.cumsum(weight * votes.known[order]) / weight[votes.known[order]].sum()
    good = np.flatnonzero(last & (accuracy >= ACCURATE) & (answered >= USEFUL))
    if len(good):
        return float(falling[good[-1]]), f"{ACCURATE:.0%} of the answers right"
    kept_right = np.cumsum(weight * right) / max((weight * right).sum(), 1e-12)
    kept_wrong = np.cumsum(weight * ~right) / max((weight * ~right).sum(), 1e-12)
    return float(falling[np.argmax(np.where(last, kept_right - kept_wrong, -1))]), "best balanced accuracy"


def quality(probability: Numbers, votes: Votes, threshold: float) -> Quality:
    """How good these probabilities (M,) are, and the answers that the threshold lets through."""
    reliability = bins(probability, votes)
    accepted = probability >= threshold
    known, weight = votes.known, votes.weight
    return Quality(
        calibration_error=round(sum(one.weight * abs(one.probability - one.right) for one in reliability), 4),
        known_auroc=round(auroc(probability, known), 4),
        answered=round(_share(accepted[known], weight[known]), 4),
        accuracy=round(_share(votes.right[accepted], weight[accepted]), 4),
        unknown_refused=round(_share(~accepted[~known], weight[~known]), 4),
        reliability=reliability,
    )


def bins(probability: Numbers, votes: Votes) -> list[Bin]:
    """Votes gathered by probability, in ten steps; empty ones left out."""
    step = np.minimum((probability * BINS).astype(int), BINS - 1)
    found = []
    for one in np.unique(step):
        inside = step == one
        weight = votes.weight[inside]
        mean, right = _share(probability[inside], weight), _share(votes.right[inside], weight)
        share = weight.sum() / votes.weight.sum()
        found.append(Bin(probability=round(mean, 4), right=round(right, 4), weight=round(float(share), 4)))
    return found


def auroc(scores: Numbers, positive: Flags) -> float:
    """How often a positive scores above a negative, ties counting half (Mann and Whitney); 0.5 without both."""
    ranks, count = rankdata(scores), int(positive.sum())
    if count in (0, len(scores)):
        return 0.5
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(scores) - count)))


def _share(values: Numbers | Flags, weight: Numbers) -> float:
    return float(values @ weight / weight.sum()) if len(values) else 0.0

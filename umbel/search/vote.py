"""The k-NN vote: what a picture's labelled neighbors say it is, how likely that is right, and when to say: unknown."""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from umbel.models.calibration import Calibration, VoteRule

Label = TypeVar("Label", bound=Hashable)
Neighbors = tuple[Sequence[float], Sequence[Label | None]]  # distances (n,) and labels (n,)

MOST_IMAGES = 5  # of one subject, in one vote
# Of a vote without a calibration: what calibrations of this project's models came to.
K, TEMPERATURE = 11, 0.05


@dataclass(frozen=True, slots=True)
class Tally(Generic[Label]):
    """One label's part in a vote. share: of all votes, in (0, 1]; nearest: the distance of its nearest neighbor.

    evidence: positions of its neighbors, nearest first.
    """

    label: Label
    share: float
    nearest: float
    evidence: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Candidate(Generic[Label]):
    """A label that may be right. score: its probability; evidence: positions of the neighbors that say so, nearest
    first.

    Where several pictures vote, positions count through: the second picture's neighbors follow all of the first's.
    """

    label: Label
    score: float
    evidence: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Label]):
    """A vote's outcome. ranked: best first, scores not rising, their sum at most 1. unknown: do not trust the first."""

    ranked: list[Candidate[Label]]
    unknown: bool

    @property
    def best(self) -> Candidate[Label] | None:
        """The answer, where there is one to be trusted."""
        return None if self.unknown else self.ranked[0]


def vote(distances: Sequence[float], labels: Sequence[Label | None], calibration: Calibration) -> Verdict[Label]:
    """Let a picture's neighbors vote on its label. distances: (n,), cosine; labels: (n,), None: unlabelled; any order.

    The k nearest labelled ones vote, so ask for k that have labels. Fewer of them, a label with fewer pictures than k,
    or one label alone are no trouble. Without a labelled neighbor the verdict is empty and unknown.
    Raises ValueError for lists of different lengths, or a distance outside [0, 2] by more than rounding.
    """
    return vote_together([(distances, labels)], calibration)


def vote_together(images: Sequence[Neighbors[Label]], calibration: Calibration) -> Verdict[Label]:
    """Let the neighbors of 1 to 5 pictures of one subject vote on its label. Each as in `vote`.

    Shares and nearest distances are averaged over the pictures before the probability is taken. Pictures of one subject
    err together (the same plant, the same light), so multiplying their probabilities as if they were independent would
    promise too much; an average makes the choice steadier, and claims what one picture as good as they are would claim.
    """
    rule = calibration.vote
    tallies = tally_together(images, k=rule.k, temperature=rule.temperature)
    if not tallies:
        return Verdict([], unknown=True)
    known = probability_known(tallies[0], rule)
    ranked = [Candidate(one.label, known * one.share, one.evidence) for one in tallies]
    return Verdict(ranked, unknown=ranked[0].score < rule.unknown_below)


def probability_known(best: Tally[Label], rule: VoteRule) -> float:
    """That the picture's kind is among the labels, in [0, 1]: rises with the best share, falls with its distance."""
    logit = rule.intercept + rule.share_gain * best.share - rule.distance_loss * best.nearest
    return 1 / (1 + math.exp(-max(min(logit, 500.0), -500.0)))


def tally(
    distances: Sequence[float], labels: Sequence[Label | None], *, k: int, temperature: float
) -> list[Tally[Label]]:
    """What the k nearest labelled neighbors say, the largest share first. Arguments and errors as for `vote`.

    A vote falls off with the distance *behind the nearest*, so that a few close neighbors are not outvoted by many far
    ones: a label with three pictures can win against one with three hundred. Everyone as near as the k-th votes, so
    that the order in which equally near neighbors are listed changes nothing.
    """
    near = _labelled(distances, labels)
    if not near:
        return []
    first, reach = near[0][0], near[min(k, len(near)) - 1][0]
    voters: dict[Label, list[tuple[float, int]]] = {}
    for distance, at, label in near:
        if distance <= reach:
            voters.setdefault(label, []).append((distance, at))
    weights = {
        label: math.fsum(math.exp((first - distance) / temperature) for distance, _ in mine)
        for label, mine in voters.items()
    }
    every = math.fsum(weights.values())
    return _ranked(
        Tally(label, weights[label] / every, mine[0][0], tuple(at for _, at in mine)) for label, mine in voters.items()
    )


def _labelled(distances: Sequence[float], labels: Sequence[Label | None]) -> list[tuple[float, int, Label]]:
    """(distance, position, label) of the labelled neighbors, nearest first."""
    if len(distances) != len(labels):
        raise ValueError(f"{len(distances)} distances were given for {len(labels)} labels.")
    if not all(-1e-3 <= distance <= 2.001 for distance in distances):
        raise ValueError("Cosine distances lie between 0 and 2.")
    found = [(max(distance, 0.0), at, labels[at]) for at, distance in enumerate(distances)]
    return sorted(((d, at, label) for d, at, label in found if label is not None), key=lambda one: one[:2])


def _ranked(tallies: Iterable[Tally[Label]]) -> list[Tally[Label]]:
    return sorted(tallies, key=lambda one: (-one.share, one.nearest, str(one.label)))


def tally_together(images: Sequence[Neighbors[Label]], *, k: int, temperature: float) -> list[Tally[Label]]:
    """The mean tally of each label over the pictures that have labelled neighbors, the largest share first."""
    if not 1 <= len(images) <= MOST_IMAGES:
        raise ValueError(f"1 to {MOST_IMAGES} pictures can vote together, not {len(images)}.")
    start, voting = 0, []
    for distances, labels in images:
        found = {one.label: one for one in tally(distances, labels, k=k, temperature=temperature)}
        if found:
            voting.append((start, distances, found))
        start += len(distances)
    every = dict.fromkeys(label for _, _, found in voting for label in found)
    return _ranked(_mean(label, voting) for label in every)


def _mean(label: Label, voting: Sequence[tuple[int, Sequence[float], dict[Label, Tally[Label]]]]) -> Tally[Label]:
    """A label's mean tally. A picture without it among its neighbors gives it no share and its farthest distance."""
    shares, nearest, evidence = [], [], []
    for start, distances, found in voting:
        if label in found:
            one = found[label]
            shares.append(one.share)
            nearest.append(one.nearest)
            evidence += [(distances[at], start + at) for at in one.evidence]
        else:
            nearest.append(max(distances[at] for one in found.values() for at in one.evidence))
    count = len(voting)
    return Tally(label, math.fsum(shares) / count, math.fsum(nearest) / count, tuple(at for _, at in sorted(evidence)))

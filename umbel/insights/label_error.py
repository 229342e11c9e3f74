"""How much a picture's neighbors doubt its label."""

from collections.abc import Sequence
from dataclasses import dataclass

from umbel.models.calibration import Calibration
from umbel.search.vote import tally, vote

# Of a vote without a calibration: what calibrations of this project's models came to.
K, TEMPERATURE = 11, 0.05


@dataclass(frozen=True, slots=True)
class LabelError:
    """suggested: the label that speaks most against the given one; doubt: how probable it is, in [0, 1]."""

    suggested: str | None
    label_error_probability: float


def label_error_probability(
    label: str, distances: Sequence[float], labels: Sequence[str | None], calibration: Calibration | None
) -> LabelError | None:
    """The doubt in `label` of a picture whose neighbors (distances, labels) do not include it. None: nobody can say.

    It is the probability that the vote gives the best *other* label: large only where neighbors are near and agree on
    something else. A picture unlike all others has little, since nothing speaks for another label. Without a
    calibration: the other label's share of the votes, which does not know how near is near.
    Raises ValueError as `umbel.search.vote.vote` does.
    """
    if calibration is None:
        scores = [(one.label, one.share) for one in tally(distances, labels, k=K, temperature=TEMPERATURE)]
    else:
        scores = [(one.label, one.score) for one in vote(distances, labels, calibration).ranked]
    if not scores:
        return None
    return next((LabelError(other, score) for other, score in scores if other != label), LabelError(None, 0.0))

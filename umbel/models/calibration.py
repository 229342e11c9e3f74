"""What distances and votes mean for one model: thresholds and a k-NN vote's probability, fitted on validation images.

A calibration belongs to a model version: its card has one, and each collection may have one of its own.
umbel/search/vote.py applies it, umbel/search/calibration_fit.py fits it; docs/explanation/calibration.md says what its
probability means and what not.
"""

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from umbel.base.tables import ModelVersion


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Threshold(_Frozen):
    """Two pictures at most this far apart are taken for one kind."""

    distance: float = Field(ge=0, le=2, description="Cosine distance.")
    tar: float = Field(ge=0, le=1, description="Share of pairs of one kind that were within it.")
    far: float = Field(ge=0, le=1, description="Share of pairs of different kinds that were.")


class Distances(_Frozen):
    """Thresholds on the distance of a pair, each validation set counting alike."""

    eer: Threshold = Field(description="As many pairs of one kind refused as of different kinds accepted.")
    far_1e2: Threshold = Field(description="At most 1 % of the pairs of different kinds accepted.")
    far_1e3: Threshold = Field(description="At most 0.1 % of them.")


class VoteRule(_Frozen):
    """How neighbors vote. A label's probability is its share of the votes, times that the kind is known at all:

    known = 1 / (1 + exp(−(intercept + share_gain · share − distance_loss · nearest))), share and nearest distance
    being those of the label with the largest share.
    """

    k: int = Field(ge=1, description="Labelled neighbors that vote.")
    temperature: float = Field(
        gt=0, description="A neighbor's vote is exp(−(its distance − the nearest's) / temperature)."
    )
    intercept: float
    share_gain: float = Field(ge=0)
    distance_loss: float = Field(ge=0)
    unknown_below: float = Field(ge=0, le=1, description="Below this probability the answer is: unknown.")


class Bin(_Frozen):
    """Votes of nearly one probability. All in [0, 1]."""

    probability: float = Field(description="Their mean probability.")
    right: float = Field(description="Share of them that were right.")
    weight: float = Field(description="Their share of all votes.")


class Quality(_Frozen):
    """How the vote did on classes that its rule was not fitted on; the kinds of half of the queries had no picture."""

    calibration_error: float = Field(description="Mean gap between probability and share right (ECE, ten bins).")
    known_auroc: float = Field(description="How often a known kind got a higher probability than an unknown one.")
    answered: float = Field(description="Share of the queries of known kinds that were answered.")
    accuracy: float = Field(description="Share of the answers that were right; an answer to an unknown kind never is.")
    unknown_refused: float = Field(description="Share of the queries of unknown kinds that were refused.")
    reliability: list[Bin]


class Fitted(_Frozen):
    """What a calibration was fitted on."""

    description: str
    sets: list[str]
    pictures: int
    classes: int
    labels: list[str] = Field([], description="What the classes are called; empty: not known.")
    votes: int = Field(description="Queries, over all galleries drawn, with and without their class.")
    threshold_rule: str = Field(description="How `unknown_below` was chosen.")


class Calibration(_Frozen):
    """Everything that makes a model's distances and votes mean something."""

    distances: Distances
    vote: VoteRule
    quality: Quality
    fitted: Fitted


GENERAL = "general"  # the domain of a model for any picture


def domain_of(version: ModelVersion) -> str | None:
    """What kind of pictures the model and its calibration are for, by its card; None: the card does not say."""
    domain = version.card.get("domain")
    return domain if isinstance(domain, str) else None


def calibration_of(version: ModelVersion) -> Calibration | None:
    """What the version's card says of distances and votes; None where it says nothing."""
    try:
        return Calibration.model_validate(version.card["calibration"])
    except (KeyError, ValidationError):
        return None

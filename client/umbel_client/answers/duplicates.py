"""Near-duplicates, and labels that the neighbors doubt."""

from dataclasses import dataclass
from uuid import UUID

from umbel_client.answers.answer import Answer


@dataclass(frozen=True, kw_only=True)
class Duplicate(Answer):
    """size in bytes; distance_to_keep: cosine."""

    image_id: UUID
    name: str | None
    label: str | None
    width: int
    height: int
    size: int
    sharpness: float | None
    distance_to_keep: float


@dataclass(frozen=True, kw_only=True)
class DuplicateGroup(Answer):
    """images: the one to keep, then the others, nearest first."""

    keep: UUID
    collection: str
    size: int
    largest_distance: float
    images: list[Duplicate]


@dataclass(frozen=True, kw_only=True)
class Duplicates(Answer):
    """A page of groups. They speak for the `compared` pictures; `waiting` are in none yet."""

    items: list[DuplicateGroup]
    next_cursor: str | None
    compared: int
    waiting: int


@dataclass(frozen=True, kw_only=True)
class Neighbor(Answer):
    image_id: UUID
    label: str
    distance: float


@dataclass(frozen=True, kw_only=True)
class LabelIssue(Answer):
    """evidence: the nearest labelled neighbors."""

    image_id: UUID
    collection: str
    name: str | None
    label: str
    suggested_label: str
    label_error_probability: float
    evidence: list[Neighbor]


@dataclass(frozen=True, kw_only=True)
class LabelIssues(Answer):
    """A page of issues, worst first. calibrated: doubts are probabilities."""

    items: list[LabelIssue]
    next_cursor: str | None
    calibrated: bool
    compared: int
    waiting: int

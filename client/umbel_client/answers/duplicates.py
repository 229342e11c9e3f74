"""Near-duplicates, and labels that the neighbors doubt."""

from uuid import UUID

from pydantic import BaseModel


class Duplicate(BaseModel):
    """size in bytes; distance_to_keep: cosine."""

    image_id: UUID
    name: str | None
    label: str | None
    width: int
    height: int
    size: int
    sharpness: float | None
    distance_to_keep: float


class DuplicateGroup(BaseModel):
    """images: the one to keep, then the others, nearest first."""

    keep: UUID
    collection: str
    size: int
    largest_distance: float
    images: list[Duplicate]


class Duplicates(BaseModel):
    """A page of groups. They speak for the `compared` pictures; `waiting` are in none yet."""

    items: list[DuplicateGroup]
    next_cursor: str | None
    compared: int
    waiting: int


class Neighbor(BaseModel):
    image_id: UUID
    label: str
    distance: float


class LabelIssue(BaseModel):
    """evidence: the nearest labelled neighbors."""

    image_id: UUID
    collection: str
    name: str | None
    label: str
    suggested_label: str
    label_error_probability: float
    evidence: list[Neighbor]


class LabelIssues(BaseModel):
    """A page of issues, worst first. calibrated: doubts are probabilities."""

    items: list[LabelIssue]
    next_cursor: str | None
    calibrated: bool
    compared: int
    waiting: int

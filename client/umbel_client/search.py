"""Answers of `search`, `identify` and `images.similar`: what was found, and how."""

from typing import Any, Literal
from uuid import UUID

from umbel_client.answer import Answer


class Match(Answer):
    """distance: cosine, 0 to 2, lower is nearer; similarity = 1 − distance; vector: where it was asked for.

    box: in a collection with tiles, the part of the image that is nearer than the whole: x, y, width, height in shares.
    Where it stands for a group: group_size, how many images that match it has; group_value, what these have in common.
    """

    image_id: UUID
    distance: float
    similarity: float
    collection: str
    name: str | None
    external_id: str | None = None
    label: str | None
    metadata: dict[str, Any]
    vector: list[float] | None = None
    group_value: Any = None
    group_size: int | None = None
    box: list[float] | None = None


class SearchInfo(Answer):
    """How a search was made. exhausted: every image that passes the filter was looked at.

    lag_seconds: of the database's replica that answered, which may lack that much; None: the primary did.
    """

    mode: Literal["exact", "hnsw"]
    requested: int
    returned: int
    ef_search: int | None
    exhausted: bool
    took_ms: float
    lag_seconds: float | None = None


class SearchResult(Answer):
    """The matches, nearest first, and how they were found. next_cursor: for the next page; None: this is the last."""

    matches: list[Match]
    next_cursor: str | None = None
    model_version: UUID
    search: SearchInfo


class Embedded(Answer):
    """vectors: one for each picture, of unit length and `dim` numbers."""

    vectors: list[list[float]]
    dim: int
    model_version: UUID
    took_ms: float


class LabelScore(Answer):
    """score: the probability that the label is right, or its share of the votes.

    evidence: the images that say so, nearest first.
    """

    label: str
    score: float
    evidence: list[UUID]


class Basis(Answer):
    """source: whose calibration the scores rest on; domain: what the model is for; note: on the threshold, in words."""

    source: Literal["collection", "model", "none"]
    domain: str | None
    note: str | None


class Identified(Answer):
    """best: the label to be trusted, None when unknown; threshold: the least score of one that is.

    unknown and threshold are None where no calibration holds for these labels: best is the label with most votes then.
    """

    best: str | None
    unknown: bool | None
    results: list[LabelScore]
    neighbors: list[Match]
    threshold: float | None
    calibration: Basis
    model_version: UUID
    took_ms: float

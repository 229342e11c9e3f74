"""Answers of the API, typed. Fields that a newer API adds are ignored."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel


class Accepted(BaseModel):
    """What became of an upload."""

    image_id: UUID
    job_id: UUID | None
    status: Literal["queued", "duplicate"]


class Collection(BaseModel):
    """images: how many it has."""

    name: str
    images: int
    created_at: datetime


class Deletion(BaseModel):
    """A collection on its way out; see `job`."""

    job_id: UUID
    status: str


class Image(BaseModel):
    image_id: UUID
    collection: str
    name: str | None
    label: str | None
    metadata: dict[str, Any]
    status: str
    media_type: str
    sha256: str  # of the bytes as they arrived, hex
    width: int
    height: int
    created_at: datetime


class Counts(BaseModel):
    """total = pending + indexed + duplicate + failed + cancelled, always."""

    total: int
    pending: int
    indexed: int
    duplicate: int
    failed: int
    cancelled: int


class Source(BaseModel):
    """What a worker imports from, and what it found there so far."""

    type: str
    listed: int
    refused: int
    passed_over: int
    done: bool
    dry_run: bool


class IndexProgress(BaseModel):
    phase: str
    done: int
    total: int


class Reindex(BaseModel):
    """mode: "embeddings" or "index"; report: what came of it, once there is something to tell."""

    mode: Literal["embeddings", "index"]
    phase: str
    activate: bool
    max_drop: float
    eta_seconds: float | None
    report: dict[str, Any] | None

    @property
    def switched(self) -> bool:
        """Whether it made its version the active one."""
        return bool(self.report and self.report.get("switched"))


class Job(BaseModel):
    id: UUID
    type: str
    status: Literal["queued", "running", "succeeded", "partial", "failed", "cancelled"]
    phase: str | None = None  # of an unfinished job: paused, listing, embedding, indexing, evaluating, switching …
    paused: bool = False
    source: Source | None = None
    index: IndexProgress | None = None
    reindex: Reindex | None = None
    model_version: UUID | None = None
    counts: Counts
    error: str | None
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def finished(self) -> bool:
        return self.finished_at is not None


class Item(BaseModel):
    id: UUID
    image_id: UUID | None
    name: str | None
    status: str
    error_code: str | None
    error: str | None


class Match(BaseModel):
    """distance: cosine, 0 to 2, lower is nearer; similarity = 1 − distance."""

    image_id: UUID
    distance: float
    similarity: float
    collection: str
    label: str | None
    metadata: dict[str, Any]


class SearchInfo(BaseModel):
    mode: Literal["exact", "hnsw"]
    requested: int
    returned: int
    ef_search: int | None
    exhausted: bool
    took_ms: float


class SearchResult(BaseModel):
    matches: list[Match]
    model_version: UUID
    search: SearchInfo


class LabelScore(BaseModel):
    """score: the probability that the label is right; evidence: the images that say so, nearest first."""

    label: str
    score: float
    evidence: list[UUID]


class Identified(BaseModel):
    """best: the label to be trusted, None when unknown; threshold: the least score of one that is."""

    best: str | None
    unknown: bool
    results: list[LabelScore]
    neighbours: list[Match]
    threshold: float
    model_version: UUID
    took_ms: float


class Comparison(BaseModel):
    """job_id: None when nothing was new."""

    job_id: UUID | None
    status: Literal["queued", "up_to_date"]
    pictures: int


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


class Witness(BaseModel):
    image_id: UUID
    label: str
    distance: float


class LabelIssue(BaseModel):
    """evidence: the nearest labelled neighbours."""

    image_id: UUID
    collection: str
    name: str | None
    label: str
    suggested_label: str
    doubt: float
    evidence: list[Witness]


class LabelIssues(BaseModel):
    """A page of issues, worst first. calibrated: doubts are probabilities."""

    items: list[LabelIssue]
    next_cursor: str | None
    calibrated: bool
    compared: int
    waiting: int


class Model(BaseModel):
    """state: registered, backfilling, ready, active or retired; metrics: from its card."""

    id: UUID
    name: str
    architecture: str
    dim: int
    weights_sha256: str
    preprocessing_hash: str
    state: str
    metrics: dict[str, Any]
    replaced: UUID | None
    created_at: datetime
    activated_at: datetime | None


class ModelIndex(BaseModel):
    """rows, dead_rows: vectors, and those of deleted pictures; advice: what would make searches better."""

    valid: bool
    bytes: int
    rows: int
    dead_rows: int
    m: int
    ef_construction: int
    advice: str | None


class ModelDetail(Model):
    card: dict[str, Any]
    index: ModelIndex | None


class Ready(BaseModel):
    ready: bool
    checks: dict[str, bool]
    workers: list[dict[str, Any]]

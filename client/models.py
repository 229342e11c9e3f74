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


class Image(BaseModel):
    image_id: UUID
    collection: str
    name: str | None
    label: str | None
    metadata: dict[str, Any]
    status: str
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


class Job(BaseModel):
    id: UUID
    type: str
    status: Literal["queued", "running", "succeeded", "partial", "failed", "cancelled"]
    phase: str | None = None  # of an unfinished job: paused, listing, embedding, indexing
    paused: bool = False
    source: Source | None = None
    index: IndexProgress | None = None
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
    exhausted: bool
    took_ms: float


class SearchResult(BaseModel):
    matches: list[Match]
    model_version: UUID
    search: SearchInfo


class Ready(BaseModel):
    ready: bool
    checks: dict[str, bool]
    workers: list[dict[str, Any]]

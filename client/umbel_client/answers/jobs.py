"""Jobs, how far they are, and what became of their pictures."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel


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
    rejected: int
    skipped: int
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

"""Jobs, how far they are, and what became of their pictures."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from umbel_client.answers.answer import Answer


@dataclass(frozen=True, kw_only=True)
class Counts(Answer):
    """total = pending + indexed + duplicate + failed + cancelled, always."""

    total: int
    pending: int
    indexed: int
    duplicate: int
    failed: int
    cancelled: int


@dataclass(frozen=True, kw_only=True)
class Source(Answer):
    """What a worker imports from, and what it found there so far."""

    type: str
    listed: int
    rejected: int
    skipped: int
    done: bool
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class IndexProgress(Answer):
    phase: str
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Reindex(Answer):
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


@dataclass(frozen=True, kw_only=True)
class Job(Answer):
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


@dataclass(frozen=True, kw_only=True)
class Item(Answer):
    id: UUID
    image_id: UUID | None
    name: str | None
    status: str
    error_code: str | None
    error: str | None

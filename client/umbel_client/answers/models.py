"""Model versions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from umbel_client.answers.answer import Answer


@dataclass(frozen=True, kw_only=True)
class Model(Answer):
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


@dataclass(frozen=True, kw_only=True)
class ModelIndex(Answer):
    """rows, dead_rows: vectors, and those of deleted pictures; advice: what would make searches better."""

    valid: bool
    bytes: int
    rows: int
    dead_rows: int
    m: int
    ef_construction: int
    advice: str | None


@dataclass(frozen=True, kw_only=True)
class ModelDetail(Model):
    card: dict[str, Any]
    index: ModelIndex | None

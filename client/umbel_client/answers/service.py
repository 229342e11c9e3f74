"""How the service is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from umbel_client.answers.answer import Answer


@dataclass(frozen=True, kw_only=True)
class Ready(Answer):
    ready: bool
    checks: dict[str, bool]
    workers: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class RecallStep(Answer):
    """recall: share of the k nearest that the index finds with this ef_search; ms: median of such a search."""

    ef_search: int
    recall: float
    ms: float


@dataclass(frozen=True, kw_only=True)
class Recall(Answer):
    """How much of what an exact search finds the index finds: measured, not estimated. Milliseconds are medians."""

    id: UUID
    model_version: UUID
    k: int
    sample: int
    ef_search: int
    recall: float
    index_ms: float
    exact_ms: float
    ef_for_95: int | None
    ef_for_99: int | None
    steps: list[RecallStep]
    created_at: datetime

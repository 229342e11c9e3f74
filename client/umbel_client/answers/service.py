"""How the service is."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel


class Ready(BaseModel):
    ready: bool
    checks: dict[str, bool]
    workers: list[dict[str, Any]]


class RecallStep(BaseModel):
    """recall: share of the k nearest that the index finds with this ef_search; ms: median of such a search."""

    ef_search: int
    recall: float
    ms: float


class Recall(BaseModel):
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

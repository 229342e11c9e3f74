"""Model versions."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel


class ModelOut(BaseModel):
    id: UUID
    name: str
    architecture: str
    dim: int
    weights_sha256: str
    preprocessing_hash: str
    state: str
    metrics: dict[str, Any]
    created_at: datetime
    activated_at: datetime | None


class ModelsOut(BaseModel):
    items: list[ModelOut]
    next_cursor: str | None

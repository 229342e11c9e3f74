"""Model versions."""

from datetime import datetime
from typing import Any
from uuid import UUID

from apiflask.fields import UploadFile
from pydantic import BaseModel, Field

from api.schemas.fields import SHA256, Links, NextCursor, Strict
from umbel.base.types import ModelState


class ModelFormIn(Strict):
    weights: UploadFile = Field(description="The checkpoint: a .safetensors file.")
    card: UploadFile = Field(description="The card that lies beside it: .json.")
    split: UploadFile | None = Field(
        None, description="Who it was trained on: .split.json. It is not judged on those pictures then."
    )


class VersionIndexOut(BaseModel):
    valid: bool = Field(description="Whether it is there and used; else searches scan exactly.")
    bytes: int
    rows: int = Field(description="Vectors, as Postgres last counted them.")
    dead_rows: int = Field(description="Of deleted pictures, and not vacuumed yet.")
    m: int
    ef_construction: int
    advice: str | None = Field(description="What would make searches better, if anything would.")


class ModelOut(BaseModel):
    id: UUID
    name: str
    architecture: str = Field(examples=["tf_efficientnetv2_b0.in1k"])
    dim: int = Field(description="Length of its vectors.")
    weights_sha256: str = Field(examples=[SHA256])
    preprocessing_hash: str
    state: ModelState = Field(
        description="active: searches use it; backfilling: a reindex is at work; ready: it has all pictures and can"
        " become active at once; registered: it may have some; retired: its vectors are gone."
    )
    metrics: dict[str, Any] = Field(description="From its card.")
    replaced: UUID | None = Field(description="The version that was active before it, and a rollback would return to.")
    created_at: datetime
    activated_at: datetime | None
    links: Links


class ModelDetailOut(ModelOut):
    card: dict[str, Any]
    index: VersionIndexOut | None


class ModelsOut(BaseModel):
    items: list[ModelOut]
    next_cursor: NextCursor

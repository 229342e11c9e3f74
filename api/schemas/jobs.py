"""Jobs and their items."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.fields import Cursor, Limit, Strict
from api.schemas.reindex import ReindexOut
from core.types import ItemState, JobStatus, JobType

MOST_ITEMS = 1_000

Phase = Literal[
    "paused", "listing", "embedding", "indexing", "comparing", "evaluating", "switching", "deleting", "drawing"
]


class JobQuery(Strict):
    wait: float = Field(0, ge=0, le=30, allow_inf_nan=False, description="Seconds to wait for the job to finish.")


class JobsQuery(Strict):
    status: JobStatus | None = None
    type: JobType | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class ItemsQuery(Strict):
    status: ItemState | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_ITEMS)] = 100
    cursor: Cursor | None = None


class ItemsFileQuery(Strict):
    status: ItemState | None = None


class CountsOut(BaseModel):
    total: int
    pending: int
    indexed: int
    duplicate: int
    failed: int
    cancelled: int


class SourceOut(BaseModel):
    type: str
    listed: int = Field(description="Entries found so far.")
    refused: int = Field(description="Of these, the ones that may not or cannot be read: failed items.")
    passed_over: int = Field(description="Other files, which are no pictures.")
    done: bool = Field(description="Listed to the end.")
    dry_run: bool


class IndexOut(BaseModel):
    phase: str = Field(description="As Postgres calls it.")
    done: int
    total: int = Field(description="Of tuples or blocks, as the phase counts; 0 if unknown.")


class JobOut(BaseModel):
    id: UUID
    type: JobType
    status: JobStatus
    phase: Phase | None = Field(
        description="What an unfinished job is at; indexing: all is embedded and can be found, its HNSW index is built."
    )
    paused: bool
    counts: CountsOut
    source: SourceOut | None = Field(description="What a worker imports from.")
    index: IndexOut | None = Field(description="How far the index is, while one is built.")
    reindex: ReindexOut | None = Field(description="What a reindex is to do, and what came of it.")
    model_version: UUID | None
    error: str | None
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]


class JobsOut(BaseModel):
    items: list[JobOut]
    next_cursor: str | None


class ItemOut(BaseModel):
    id: UUID
    image_id: UUID | None
    name: str | None
    status: ItemState
    attempts: int
    error_code: str | None
    error: str | None
    finished_at: datetime | None


class ItemsOut(BaseModel):
    items: list[ItemOut]
    next_cursor: str | None

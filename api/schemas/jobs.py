"""Jobs and their items."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.fields import Cursor, Limit, Links, NextCursor, Strict
from api.schemas.reindex import ReindexOut
from umbel.base.types import ItemState, JobStatus, JobType

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
    total: int = Field(description="pending + indexed + duplicate + failed + cancelled, always.", examples=[240])
    pending: int = Field(examples=[0])
    indexed: int = Field(description="Found by searches.", examples=[238])
    duplicate: int = Field(description="Their bytes were in the collection.", examples=[1])
    failed: int = Field(examples=[1])
    cancelled: int = Field(examples=[0])


class SourceOut(BaseModel):
    type: str
    listed: int = Field(description="Entries found so far.")
    rejected: int = Field(description="Of these, the ones that may not or cannot be read: failed items.")
    skipped: int = Field(description="Other files, which are no pictures.")
    done: bool = Field(description="Listed to the end.")
    dry_run: bool


class IndexOut(BaseModel):
    phase: str = Field(description="As Postgres calls it.")
    done: int
    total: int = Field(description="Of tuples or blocks, as the phase counts; 0 if unknown.")


class JobOut(BaseModel):
    id: UUID
    type: JobType = Field(examples=["import"])
    status: JobStatus = Field(examples=["partial"])
    phase: Phase | None = Field(
        examples=[None],
        description="What an unfinished job is at; indexing: all is embedded and found, its index is built.",
    )
    paused: bool = Field(examples=[False])
    counts: CountsOut
    source: SourceOut | None = Field(examples=[None], description="What a worker imports from.")
    index: IndexOut | None = Field(examples=[None], description="How far the index is, while one is built.")
    reindex: ReindexOut | None = Field(examples=[None], description="What a reindex is to do, and what came of it.")
    model_version: UUID | None
    error: str | None = Field(description="Why, if it failed.", examples=[None])
    attempts: int = Field(examples=[1])
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: Links


class JobsOut(BaseModel):
    items: list[JobOut]
    next_cursor: NextCursor


class ItemOut(BaseModel):
    id: UUID
    image_id: UUID | None
    name: str | None = Field(examples=["tulips/1.jpg"])
    status: ItemState
    attempts: int = Field(examples=[1])
    error_code: str | None = Field(description="Stable; for programs.", examples=[None])
    error: str | None = Field(description="Why, if it failed.", examples=[None])
    finished_at: datetime | None


class ItemsOut(BaseModel):
    items: list[ItemOut]
    next_cursor: NextCursor

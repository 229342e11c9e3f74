"""Collections."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.fields import CollectionName, Limit, NextCursor, Strict
from core.types import JobStatus


class CollectionIn(Strict):
    name: CollectionName


class CollectionsQuery(Strict):
    limit: Limit = 100
    cursor: Annotated[CollectionName | None, Field(description="`next_cursor` of the page before.")] = None


class CollectionOut(BaseModel):
    name: str = Field(examples=["garden"])
    images: int = Field(description="How many it has.", examples=[240])
    created_at: datetime
    links: dict[str, str] = Field(
        examples=[{"self": "/v1/collections/garden", "images": "/v1/images?collection=garden"}]
    )


class CollectionsOut(BaseModel):
    items: list[CollectionOut]
    next_cursor: NextCursor


class DeletionOut(BaseModel):
    job_id: UUID
    status: JobStatus = Field(examples=["queued"])
    links: dict[str, str] = Field(examples=[{"job": "/v1/jobs/019b2f6e-0000-7000-8000-000000000000"}])

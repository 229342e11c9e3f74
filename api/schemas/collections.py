"""Collections."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.fields import CollectionName, Limit, NextCursor, Strict
from umbel.base.types import JobStatus


class CollectionIn(Strict):
    name: CollectionName


Most = Annotated[int, Field(ge=0, lt=2**63)]


class CollectionPatchIn(Strict):
    model_config = ConfigDict(json_schema_extra={"examples": [{"max_images": 100_000}]})

    max_images: Most | None = Field(None, description="How many images it may have; null: no limit.")
    max_bytes: Most | None = Field(None, description="How many bytes these may have together; null: no limit.")


class CollectionsQuery(Strict):
    limit: Limit = 100
    cursor: Annotated[CollectionName | None, Field(description="`next_cursor` of the page before.")] = None


class CollectionOut(BaseModel):
    name: str = Field(examples=["garden"])
    images: int = Field(description="How many it has.", examples=[240])
    max_images: int | None = Field(description="Its quota; null: none.")
    max_bytes: int | None = Field(description="Its quota; null: none.")
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

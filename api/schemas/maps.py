"""Maps of the gallery."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.fields import CollectionName, Strict
from umbel.base.types import JobStatus


class MapQuery(Strict):
    collection: CollectionName | None = None


class MapIn(Strict):
    collection: CollectionName | None = Field(None, description="Left out: all pictures on one map.")


class MapAccepted(BaseModel):
    job_id: UUID
    status: JobStatus = Field(examples=["queued"])
    links: dict[str, str]


class MapOut(BaseModel):
    """Point i is the picture ids[i], at x[i], y[i], labelled labels[label[i]]."""

    model_version: UUID
    collection: str | None
    computed_at: datetime | None = Field(description="null: it was never computed, so there are no points.")
    images: int = Field(description="That had a vector when it was computed; of more than 50,000 a sample is shown.")
    new: int = Field(description="Pictures that have come since: POST /v1/map computes it anew.")
    labels: list[str] = Field(description="The most frequent first.")
    ids: list[UUID]
    x: list[float] = Field(description="0 to 1, to the right.")
    y: list[float] = Field(description="0 to 1, upwards.")
    label: list[int] = Field(description="Index into `labels`; -1: no label.")

"""Comparisons, and the near-duplicates they find."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.fields import CollectionName, Cursor, Limit, Links, NextCursor, Strict
from umbel.insights.duplicates import MAX_DISTANCE, MIN_PIXEL_SIMILARITY


class ComparisonIn(Strict):
    collection: CollectionName | None = Field(None, description="Left out: every collection, each within itself.")
    again: bool = Field(False, description="Compare all pictures, also those that were compared before.")


class ComparisonOut(BaseModel):
    job_id: UUID | None
    status: Literal["queued", "up_to_date"]
    images: int = Field(description="How many are to be compared.")


class DuplicatesQuery(Strict):
    collection: CollectionName | None = None
    image_id: Annotated[UUID, Field(description="Only the group that has this image, if any.")] | None = None
    max_distance: Annotated[
        float,
        Field(ge=0, le=MAX_DISTANCE, allow_inf_nan=False, description="Cosine distance of two pictures of a group."),
    ] = MAX_DISTANCE
    min_pixel_similarity: Annotated[
        float,
        Field(ge=0, le=1, allow_inf_nan=False, description="Of their pixels; 0: the distance alone decides."),
    ] = MIN_PIXEL_SIMILARITY
    limit: Limit = 50
    cursor: Cursor | None = None


class MemberOut(BaseModel):
    image_id: UUID
    name: str | None = Field(examples=["tulips/1.jpg"])
    label: str | None = Field(examples=["tulip"])
    width: int = Field(description="Pixels, upright.", examples=[640])
    height: int = Field(description="Pixels, upright.", examples=[480])
    size: int = Field(description="Bytes of the file.")
    sharpness: float | None = Field(description="Comparable within the group; null where the picture was not seen.")
    distance_to_keep: float = Field(description="Cosine distance to the picture to keep.")
    links: Links


class GroupOut(BaseModel):
    keep: UUID = Field(description="The picture with most pixels, then the sharpest, the largest file, the oldest.")
    collection: str = Field(examples=["garden"])
    size: int = Field(description="How many pictures; of a very large group not all are listed.")
    largest_distance: float = Field(description="Of any of them to the picture to keep.")
    images: list[MemberOut] = Field(description="The one to keep, then the others, nearest first.")


class DuplicatesOut(BaseModel):
    items: list[GroupOut]
    next_cursor: NextCursor
    max_distance: float
    min_pixel_similarity: float
    model_version: UUID
    compared: int = Field(description="Pictures that these groups speak for.")
    waiting: int = Field(description="Pictures that have not been compared yet: POST /v1/duplicates.")

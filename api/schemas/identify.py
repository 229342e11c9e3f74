"""Asking what a picture shows, and the answer."""

from typing import Self
from uuid import UUID

from apiflask.fields import UploadFile
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.schemas.search import Base64, MatchOut, Scoped
from umbel.search.vote import MOST_IMAGES


class IdentifyIn(Scoped):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"image_ids": ["019b2f6e-0000-7000-8000-000000000000"], "collection": "garden"}]
        }
    )

    image_ids: list[UUID] | None = Field(
        None, min_length=1, max_length=MOST_IMAGES, description="Images in the gallery; they do not vote themselves."
    )
    images: list[Base64] | None = Field(
        None, min_length=1, max_length=MOST_IMAGES, description="Pictures of one subject, base64."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.image_ids is None) == (self.images is None):
            raise ValueError("exactly one of image_ids and images must be given")
        return self


class IdentifyFormIn(Scoped):
    file: list[UploadFile] = Field(
        min_length=1, max_length=MOST_IMAGES, description="Pictures of one subject; the field may be repeated."
    )


class LabelOut(BaseModel):
    label: str = Field(examples=["tulip"])
    score: float = Field(description="Probability that this label is right, calibrated; all add up to at most 1.")
    evidence: list[UUID] = Field(description="The neighbors that say so, nearest first.")


class IdentifyOut(BaseModel):
    best: str | None = Field(description="The label to be trusted; null when unknown.")
    unknown: bool = Field(description="No label is probable enough: the subject may be none of those in the gallery.")
    results: list[LabelOut] = Field(description="All labels that got votes, the most probable first.")
    neighbors: list[MatchOut] = Field(description="Who voted: for each picture its nearest labelled images.")
    threshold: float = Field(description="Below this score of the first the answer is unknown.")
    model_version: UUID
    took_ms: float = Field(examples=[4.2])

"""What is searched for, where, and what is found."""

import binascii
from base64 import b64decode
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from apiflask.fields import UploadFile
from pydantic import BaseModel, BeforeValidator, Field, model_validator

from api.schemas.fields import CollectionName, K, Label, MaxDistance, Metadata, Strict, json_object

MOST_LABELS = 1_000


class SimilarQuery(Strict):
    k: K = 10
    collection: CollectionName | None = None
    max_distance: MaxDistance | None = None


class FilterIn(Strict):
    label: list[Label] | None = Field(None, max_length=MOST_LABELS, description="One of these labels.")
    metadata: Metadata = Field(default_factory=dict, description="Each key has this value.")


class SearchOptions(Strict):
    """How to search; shared by the JSON and the multipart form of a request."""

    k: K = 10
    collection: CollectionName | None = None
    filter: Annotated[FilterIn, BeforeValidator(json_object)] = FilterIn()
    max_distance: MaxDistance | None = None
    exact: bool = Field(False, description="Scan every candidate instead of the HNSW index.")


class SearchIn(SearchOptions):
    image_id: UUID | None = Field(None, description="An image that is in the gallery.")
    vector: list[Annotated[float, Field(allow_inf_nan=False)]] | None = Field(
        None, max_length=4_000, description="A vector of the active model's width."
    )
    image: str | None = Field(None, description="A picture, base64.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(part is not None for part in (self.image_id, self.vector, self.image)) != 1:
            raise ValueError("exactly one of image_id, vector and image must be given")
        return self


class SearchFormIn(SearchOptions):
    file: UploadFile


class LegacySearchIn(BaseModel):
    image: str = Field(description="A picture, base64.")


def picture_of(base64: str) -> bytes:
    """The bytes of a base64 picture, with or without a data: prefix. Raises ValueError."""
    try:
        return b64decode(base64.rpartition(",")[2].strip(), validate=True)
    except binascii.Error as error:
        raise ValueError("image is not valid base64") from error


class MatchOut(BaseModel):
    image_id: UUID
    distance: float
    similarity: float
    collection: str
    label: str | None
    metadata: dict[str, Any]
    links: dict[str, str]


class SearchInfo(BaseModel):
    mode: Literal["exact", "hnsw"]
    requested: int
    returned: int
    exhausted: bool = Field(description="The index gave up before it had found all that might match.")
    took_ms: float


class SearchOut(BaseModel):
    matches: list[MatchOut]
    model_version: UUID
    search: SearchInfo


class LegacyMatch(BaseModel):
    path: str
    simularity: float  # the predecessor's spelling; its clients read it so


class LegacyOut(BaseModel):
    results: list[LegacyMatch]

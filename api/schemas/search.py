"""What is searched for, where, and what is found."""

import binascii
from base64 import b64decode
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from apiflask.fields import UploadFile
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from api.schemas.fields import CollectionName, K, Label, Links, MaxDistance, Metadata, Strict, json_object
from umbel.search.filters import Filter, conditions_of

MOST_LABELS = 1_000
MOST_EXAMPLES = 100  # of each kind

# A PNG of one color, 32 × 32 pixels.
EXAMPLE_PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAK0lEQVR42u3NQQEAQAQAMC6NOGKLdSX4bQWWUx2XXhwTCAQCgUAgEAgEWz63CAGA"
    "WkV6GAAAAABJRU5ErkJggg=="
)

Base64 = Annotated[str, Field(json_schema_extra={"format": "byte"})]


MetadataFilter = Annotated[
    Metadata,
    Field(
        examples=[{"camera": "X100V", "year": {"$gte": 2020, "$lt": 2024}, "season": {"$in": ["spring", "summer"]}}],
        description="For each key the value that it has, or an object of operators: `$eq`, `$in`, `$gt`, `$gte`, `$lt`,"
        " `$lte` (numbers with numbers, text with text), `$exists` (true or false).",
    ),
]


class SimilarQuery(Strict):
    k: K = 10
    collection: CollectionName | None = None
    label: Label | None = None
    max_distance: MaxDistance | None = None
    exact: bool = Field(False, description="Scan every candidate instead of the HNSW index.")


class FilterIn(Strict):
    label: list[Label] | None = Field(None, max_length=MOST_LABELS, description="One of these labels.")
    metadata: MetadataFilter = Field(default_factory=dict)

    @field_validator("metadata")
    @classmethod
    def _understood(cls, value: dict[str, Any]) -> dict[str, Any]:
        conditions_of(value)
        return value

    def as_filter(self) -> Filter:
        return Filter(labels=self.label, metadata=conditions_of(self.metadata))


class Scoped(Strict):
    """Which images may match, and how they are looked for."""

    collection: CollectionName | None = None
    filter: Annotated[FilterIn, BeforeValidator(json_object)] = FilterIn()
    exact: bool = Field(False, description="Scan every candidate instead of the HNSW index.")


class SearchOptions(Scoped):
    """How to search; shared by the JSON and the multipart form of a request."""

    k: K = 10
    max_distance: MaxDistance | None = None


class SearchIn(SearchOptions):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"image_id": "019b2f6e-0000-7000-8000-000000000000", "k": 5, "filter": {"label": ["tulip"]}}]
        }
    )

    image_id: UUID | None = Field(None, description="An image that is in the gallery, in whatever collection.")
    positive: list[UUID] | None = Field(
        None,
        min_length=1,
        max_length=MOST_EXAMPLES,
        description="Images in the gallery, in whatever collection: more like these.",
    )
    negative: list[UUID] = Field(
        default_factory=list, max_length=MOST_EXAMPLES, description="With `positive`: less like those."
    )
    vector: list[Annotated[float, Field(allow_inf_nan=False)]] | None = Field(
        None, max_length=4_000, description="A vector of the active model's width."
    )
    image: Base64 | None = Field(None, description="A picture, base64.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(part is not None for part in (self.image_id, self.positive, self.vector, self.image)) != 1:
            raise ValueError("exactly one of image_id, positive, vector and image must be given")
        if self.negative and self.positive is None:
            raise ValueError("negative examples need positive ones beside them")
        return self


class SearchFormIn(SearchOptions):
    file: UploadFile


class LegacySearchIn(BaseModel):
    image: Base64 = Field(description="A picture, base64.", examples=[EXAMPLE_PICTURE])


def image_of(base64: str) -> bytes:
    """The bytes of a base64 picture, with or without a data: prefix. Raises ValueError."""
    try:
        return b64decode(base64.rpartition(",")[2].strip(), validate=True)
    except binascii.Error as error:
        raise ValueError("image is not valid base64") from error


class MatchOut(BaseModel):
    image_id: UUID
    distance: float = Field(description="Cosine distance, 0 to 2; lower is nearer.", examples=[0.12])
    similarity: float = Field(description="1 − distance.", examples=[0.88])
    collection: str = Field(examples=["garden"])
    label: str | None = Field(examples=["tulip"])
    metadata: dict[str, Any] = Field(examples=[{"camera": "X100V"}])
    links: Links


class SearchInfo(BaseModel):
    mode: Literal["exact", "hnsw"] = Field(description="exact: every candidate was looked at.")
    requested: int
    returned: int = Field(description="Fewer than requested only if no more images match.")
    ef_search: int | None = Field(description="Candidates that the index kept in sight; null for an exact scan.")
    exhausted: bool = Field(description="The index gave up before it had k, so every candidate was scanned: exact.")
    took_ms: float = Field(examples=[4.2])


class SearchOut(BaseModel):
    matches: list[MatchOut]
    model_version: UUID
    search: SearchInfo


class LegacyMatch(BaseModel):
    path: str
    simularity: float  # the predecessor's spelling; its clients read it so


class LegacyOut(BaseModel):
    results: list[LegacyMatch]

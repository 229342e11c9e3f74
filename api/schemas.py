"""What goes in and out over HTTP, with its limits. OpenAPI is generated from these."""

import binascii
import json
from base64 import b64decode
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol, Self, TypeVar
from uuid import UUID

from apiflask.fields import UploadFile
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from core.types import ItemState, JobStatus, JobType
from services.ingest import DEFAULT_COLLECTION
from services.sources.specs import FolderSource, S3Source


class HasId(Protocol):
    """A row of a list."""

    @property
    def id(self) -> UUID: ...


T = TypeVar("T", bound=HasId)

MOST_HASHES = 1_000
MOST_ITEMS = 1_000
MOST_LABELS = 1_000


def _storable(text: str) -> str:
    """Postgres takes no NUL and no lone surrogate; better said here than there."""
    if "\x00" in text:
        raise ValueError("must not contain a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode") from error
    return text


def _json_object(value: Any) -> Any:
    """Metadata may come as JSON text (in a form) or as an object (in a JSON body)."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError("must be a JSON object") from error
    return value


def _storable_object(value: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        raise ValueError("must be plain JSON without NaN or Infinity") from error
    if "\\u0000" in text:
        raise ValueError("must not contain a NUL character")
    if len(_storable(text)) > 16_384:
        raise ValueError("must not be longer than 16,384 characters")
    return value


Text = Annotated[str, AfterValidator(_storable)]
Label = Annotated[Text, Field(min_length=1, max_length=200, examples=["tulip"])]
Name = Annotated[Text, Field(max_length=1_000, description="File name or path, for people.")]
CollectionName = Annotated[
    str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$", description="Name of a collection.", examples=["garden"])
]
Metadata = Annotated[
    dict[str, Any],
    BeforeValidator(_json_object),
    AfterValidator(_storable_object),
    Field(examples=[{"camera": "X100V"}], description="A JSON object of your own."),
]
K = Annotated[int, Field(ge=1, le=1_000, description="How many matches.")]
MaxDistance = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False, description="Cosine distance, 0 to 2.")]
Cursor = Annotated[UUID, Field(description="`next_cursor` of the page before.")]
Limit = Annotated[int, Field(ge=1, le=500)]


Phase = Literal["paused", "listing", "embedding", "indexing"]


class Strict(BaseModel):
    """Unknown fields are refused, so that a misspelt one is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


# --- in -------------------------------------------------------------------------------------------------------------


class UploadIn(Strict):
    file: UploadFile
    collection: CollectionName = DEFAULT_COLLECTION
    label: Label | None = None
    metadata: Metadata = Field(default_factory=dict)
    name: Name | None = Field(None, description="Overrides the file name of the part.")
    job_id: UUID | None = Field(None, description="An open import job to which the picture belongs.")


class ImagePatchIn(Strict):
    label: Label | None = None
    metadata: Metadata = Field(default_factory=dict)


class CheckIn(Strict):
    sha256: list[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(max_length=MOST_HASHES)
    collection: CollectionName = DEFAULT_COLLECTION


class ImagesQuery(Strict):
    collection: CollectionName | None = None
    label: Label | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class SimilarQuery(Strict):
    k: K = 10
    collection: CollectionName | None = None
    max_distance: MaxDistance | None = None


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


class UploadSource(Strict):
    type: Literal["upload"] = Field(description="Pictures follow by POST /v1/images with this job's id.")


class ImportOptions(Strict):
    """How to import; shared by the JSON and the multipart form of a request."""

    collection: CollectionName = DEFAULT_COLLECTION
    label_from_folder: bool = Field(False, description="Label each picture with the name of its folder.")
    dry_run: bool = Field(False, description="Only list: the job's `source` says what would be imported.")


class ImportIn(ImportOptions):
    source: Annotated[UploadSource | FolderSource | S3Source, Field(discriminator="type")]


class ImportFormIn(ImportOptions):
    file: UploadFile = Field(description="A zip, a tar (also .gz, .bz2, .xz), or a list: .csv or .jsonl.")
    base: str | None = Field(None, max_length=4096, description="What the paths of a list are relative to.")


class FilterIn(Strict):
    label: list[Label] | None = Field(None, max_length=MOST_LABELS, description="One of these labels.")
    metadata: Metadata = Field(default_factory=dict, description="Each key has this value.")


class SearchOptions(Strict):
    """How to search; shared by the JSON and the multipart form of a request."""

    k: K = 10
    collection: CollectionName | None = None
    filter: Annotated[FilterIn, BeforeValidator(_json_object)] = FilterIn()
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


def page_of(rows: list[T], limit: int) -> tuple[list[T], str | None]:
    """The page's rows, and the cursor of the next page if there is one: for lists asked for with limit + 1."""
    page = rows[:limit]
    return page, str(page[-1].id) if len(rows) > limit else None


def inline_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema in one piece, for a place of the specification where APIFlask registers no parts."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return resolved(parts[node["$ref"].rpartition("/")[2]])
        return {key: resolved(value) for key, value in node.items()}

    return {key: resolved(value) for key, value in schema.items()}


def picture_of(base64: str) -> bytes:
    """The bytes of a base64 picture, with or without a data: prefix. Raises ValueError."""
    try:
        return b64decode(base64.rpartition(",")[2].strip(), validate=True)
    except binascii.Error as error:
        raise ValueError("image is not valid base64") from error


# --- out ------------------------------------------------------------------------------------------------------------


class AcceptedOut(BaseModel):
    image_id: UUID
    job_id: UUID | None
    status: Literal["queued", "duplicate"]


class ImportOut(BaseModel):
    job_id: UUID
    status: JobStatus


class ImageOut(BaseModel):
    image_id: UUID
    collection: str
    name: str | None
    label: str | None
    metadata: dict[str, Any]
    status: ItemState
    media_type: str
    size: int = Field(description="Bytes of the file as it arrived.")
    sha256: str
    width: int
    height: int
    created_at: datetime
    links: dict[str, str]


class ImagesOut(BaseModel):
    items: list[ImageOut]
    next_cursor: str | None


class CheckOut(BaseModel):
    known: dict[str, UUID] = Field(description="Of the hashes asked for, those in the collection, with their image.")


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


class CollectionOut(BaseModel):
    name: str
    images: int
    created_at: datetime


class CollectionsOut(BaseModel):
    items: list[CollectionOut]
    next_cursor: str | None


class ModelOut(BaseModel):
    id: UUID
    name: str
    architecture: str
    dim: int
    weights_sha256: str
    preprocessing_hash: str
    state: str
    metrics: dict[str, Any]
    created_at: datetime
    activated_at: datetime | None


class ModelsOut(BaseModel):
    items: list[ModelOut]
    next_cursor: str | None


class WorkerOut(BaseModel):
    name: str
    lanes: list[str]
    device: str
    started_at: datetime


class ReadyOut(BaseModel):
    ready: bool
    checks: dict[str, bool]
    workers: list[WorkerOut]

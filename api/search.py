"""/v1/search, and /search of the predecessor."""

import time
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from apiflask import APIBlueprint
from flask import request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from api import rooms
from api.access import check_images, within
from api.errors import problems, validated
from api.fields import (
    Base64,
    CollectionName,
    File,
    FilterText,
    K,
    Label,
    Links,
    MaxDistance,
    Strict,
    VectorOut,
    VersionToUse,
    With,
    WithOne,
    answer_of,
    image_links,
    json_object,
)
from api.specification import either_body
from umbel.base.database import transaction
from umbel.base.notify import listener
from umbel.base.settings import settings
from umbel.gallery.filters import Filter
from umbel.jobs.wakeup import waker
from umbel.models import versions
from umbel.models.versions import VersionKey
from umbel.search.nearest import Match, Scope
from umbel.search.search import (
    Query,
    find_matches,
    query_by_image,
    query_by_images,
    query_by_pictures,
    query_by_vector,
)

bp = APIBlueprint("search", __name__, tag="Search")

LEGACY_K = 5
MOST_EXAMPLES = 100  # of each kind

# A PNG of one color, 32 × 32 pixels.
EXAMPLE_PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAK0lEQVR42u3NQQEAQAQAMC6NOGKLdSX4bQWWUx2XXhwTCAQCgUAgEAgEWz63CAGA"
    "WkV6GAAAAABJRU5ErkJggg=="
)


class SimilarQuery(Strict):
    k: K = 10
    collection: CollectionName | None = None
    label: Label | None = None
    filter: FilterText = Field(default_factory=Filter)
    max_distance: MaxDistance | None = None
    exact: bool = Field(False, description="Scan every candidate instead of the HNSW index.")
    model_version: VersionToUse = None
    parts: WithOne = None


class Scoped(Strict):
    """Which images may match, and how they are looked for."""

    collection: CollectionName | None = None
    filter: Annotated[Filter, BeforeValidator(json_object)] = Field(default_factory=Filter)
    exact: bool = Field(False, description="Scan every candidate instead of the HNSW index.")


class SearchOptions(Scoped):
    """How to search; shared by the JSON and the multipart form of a request."""

    k: K = 10
    max_distance: MaxDistance | None = None
    parts: With = Field(default_factory=list)


class SearchFormIn(SearchOptions):
    file: File


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
    model_version: VersionToUse = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(part is not None for part in (self.image_id, self.positive, self.vector, self.image)) != 1:
            raise ValueError("exactly one of image_id, positive, vector and image must be given")
        if self.negative and self.positive is None:
            raise ValueError("negative examples need positive ones beside them")
        if self.model_version is not None and self.image is not None:
            raise ValueError("pictures are embedded by the active model: leave model_version out")
        return self


class LegacySearchIn(BaseModel):
    image: Base64 = Field(description="A picture, base64.", examples=[EXAMPLE_PICTURE])


class MatchOut(BaseModel):
    image_id: UUID
    distance: float = Field(description="Cosine distance, 0 to 2; lower is nearer.", examples=[0.12])
    similarity: float = Field(description="1 − distance.", examples=[0.88])
    collection: str = Field(examples=["garden"])
    name: str | None = Field(description="File name or path it came under.", examples=["tulips/1.jpg"])
    external_id: str | None = Field(description="The sender's own id.", examples=["sku-1042"])
    label: str | None = Field(examples=["tulip"])
    metadata: dict[str, Any] = Field(examples=[{"camera": "X100V"}])
    vector: VectorOut = None
    links: Links


class SearchInfo(BaseModel):
    mode: Literal["exact", "hnsw"] = Field(description="exact: every candidate was looked at.")
    requested: int
    returned: int = Field(description="Fewer than requested only if no more images match.")
    ef_search: int | None = Field(description="Candidates that the index kept in sight; null for an exact scan.")
    exhausted: bool = Field(description="The index gave up before it had k, so every candidate was scanned: exact.")
    took_ms: float = Field(examples=[4.2])
    lag_seconds: float | None = Field(
        description="A replica of the database answered, which may lack this many seconds of changes; null: none did.",
        examples=[None],
    )


class SearchOut(BaseModel):
    matches: list[MatchOut]
    model_version: UUID
    search: SearchInfo


class LegacyMatch(BaseModel):
    path: str
    simularity: float  # the predecessor's spelling; its clients read it so


class LegacyOut(BaseModel):
    results: list[LegacyMatch]


@bp.post("/v1/search")
@bp.output(SearchOut)
@bp.doc(extensions=either_body(json=SearchIn, form=SearchFormIn), responses=problems(404, 409, 415))
def search() -> Any:
    """Find the most similar images: to a picture, an image id, examples or a vector.

    JSON with exactly one of `image_id`, `positive` (with or without `negative`), `vector` and `image` (base64), or
    multipart with `file`. With `model_version`, by that version's vectors. Images that are part of the query are not
    among the matches.
    """
    began = time.perf_counter()
    if request.mimetype == "multipart/form-data":
        form = validated(SearchFormIn.model_validate, {**request.form.to_dict(), **request.files.to_dict()})
        return _by_image(form.file.read(), form, began)
    body = validated(SearchIn.model_validate, request.get_json())
    within(body.collection)
    if body.image is not None:
        return _by_image(body.image, body, began)
    version = named_version(body.model_version)
    if body.vector is not None:
        return searched(query_by_vector(body.vector, version), body, began)
    if body.image_id is not None:
        check_images([body.image_id])
        return searched(query_by_image(body.image_id, version), body, began)
    positive = body.positive or []
    check_images([*positive, *body.negative])
    with transaction() as session:
        query = query_by_images(session, positive, body.negative, version)
    return searched(query, body, began)


@bp.post("/search")
@bp.input(LegacySearchIn, arg_name="body")
@bp.output(LegacyOut)
@bp.doc(tags=["Predecessor"], responses=problems(415))
def legacy_search(body: LegacySearchIn) -> Any:
    """Answer the predecessor's request in its own shape: the five nearest, best first."""
    within(None)
    [query] = queries_by_image([body.image])
    found = find_matches(query, k=LEGACY_K, scope=scope_of(Scoped()))
    return LegacyOut(
        results=[
            LegacyMatch(path=image_links(match.image_id)["file"], simularity=1 - match.distance)
            for match in found.matches
        ]
    )


def searched(query: Query, options: SearchOptions, began: float) -> SearchOut:
    """The matches, and how they were found. took_ms counts from `began` (perf_counter). Raises NotFound, NotReady."""
    scope = scope_of(options, options.max_distance)
    found = find_matches(query, k=options.k, scope=scope, exact=options.exact, with_vectors="vector" in options.parts)
    matches = [match_out(match) for match in found.matches]
    took_ms = round((time.perf_counter() - began) * 1000, 2)
    info = answer_of(SearchInfo, found, requested=options.k, returned=len(matches), took_ms=took_ms)
    return SearchOut(matches=matches, model_version=found.version_id, search=info)


def named_version(version_id: UUID | None) -> VersionKey | None:
    """The version that a search names; None: the active one. Raises NotFound."""
    if version_id is None:
        return None
    with transaction() as session:
        return versions.get_named_key(session, version_id)


def _by_image(picture: bytes, options: SearchOptions, began: float) -> SearchOut:
    within(options.collection)  # before a worker embeds the image
    [query] = queries_by_image([picture])
    return searched(query, options, began)


def scope_of(options: Scoped, max_distance: float | None = None) -> Scope:
    """The part of the gallery that a request searches."""
    return Scope(within(options.collection), options.filter, max_distance)


def match_out(match: Match) -> MatchOut:
    similarity, links = 1 - match.distance, image_links(match.image_id)
    return answer_of(MatchOut, match, similarity=similarity, metadata=match.meta, links=links)


def queries_by_image(images: list[bytes]) -> list[Query]:
    """The pictures as queries, embedded by a worker. Raises Busy while too many wait for one."""
    with rooms.searches().place():
        return query_by_pictures(listener(), waker(), settings(), images)

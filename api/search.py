"""/v1/search, and /search of the predecessor."""

import time
from dataclasses import replace
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from apiflask import APIBlueprint
from flask import request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from api import cursors, rooms
from api.access import check_images, within
from api.cursors import SearchCursor
from api.errors import problems, validated
from api.fields import (
    BOX,
    Base64,
    CollectionName,
    File,
    FilterText,
    K,
    Label,
    Links,
    MaxDistance,
    NextCursor,
    PartOfImage,
    PartOfImageText,
    Strict,
    VectorOut,
    VersionToUse,
    With,
    WithOne,
    answer_of,
    image_links,
    json_object,
)
from api.selections import Selected
from api.specification import either_body
from umbel.base.database import transaction
from umbel.base.errors import CursorExpired, CursorMismatch, NotFound, UmbelError
from umbel.base.notify import listener
from umbel.base.settings import settings
from umbel.base.types import Box
from umbel.embedding.query_images import Picture
from umbel.gallery.filters import Filter
from umbel.insights.selection import find_page
from umbel.jobs.wakeup import waker
from umbel.models import versions
from umbel.models.versions import VersionKey
from umbel.search.nearest import Match, Scope
from umbel.search.search import (
    Query,
    embed_pictures,
    find_matches,
    mean_query,
    query_by_image,
    query_by_images,
    query_by_pictures,
    query_by_vector,
    stored_part,
)

bp = APIBlueprint("search", __name__, tag="Search")

LEGACY_K = 5
MOST_EXAMPLES = 100  # of each kind
MOST_PICTURES = 16  # of one request, which keeps a worker for all of them
BOX_OF_ONE = "a box is a part of one picture: give it with one alone, or with image_id"

OF_ALL_PAGES = {"filter", "max_distance", "exact", "collapse", "group_by", "box"}  # what is the same for each

# A PNG of one color, 32 × 32 pixels.
EXAMPLE_PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAK0lEQVR42u3NQQEAQAQAMC6NOGKLdSX4bQWWUx2XXhwTCAQCgUAgEAgEWz63CAGA"
    "WkV6GAAAAABJRU5ErkJggg=="
)


class SimilarQuery(Selected):
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


class SearchOptions(Selected, Scoped):
    """How to search; shared by the JSON and the multipart form of a request."""

    k: K = 10
    max_distance: MaxDistance | None = None
    parts: With = Field(default_factory=list)


class SearchFormIn(SearchOptions):
    file: list[File] = Field(
        default_factory=list,
        max_length=MOST_PICTURES,
        description="A picture; or several of one thing: the field may be repeated.",
    )
    box: PartOfImageText = None

    @model_validator(mode="after")
    def _picture_or_cursor(self) -> Self:
        if not self.file and self.cursor is None:
            raise ValueError("file must be given")
        if self.box is not None and len(self.file) > 1:
            raise ValueError(BOX_OF_ONE)
        return self

    def pictures(self) -> list[Picture]:
        """Those that were sent."""
        return [Picture(file.read(), self.box) for file in self.file]


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
    images: list[Base64] | None = Field(
        None, min_length=1, max_length=MOST_PICTURES, description="Pictures of one thing, base64."
    )
    box: PartOfImage = None
    model_version: VersionToUse = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        parts = (self.image_id, self.positive, self.vector, self.image, self.images)
        given = sum(part is not None for part in parts)
        if given != 1 and not (given == 0 and self.cursor is not None):
            raise ValueError("exactly one of image_id, positive, vector, image and images must be given")
        if self.negative and self.positive is None:
            raise ValueError("negative examples need positive ones beside them")
        if self.box is not None and (self.positive or self.vector is not None or len(self.images or ()) > 1):
            raise ValueError(BOX_OF_ONE)
        if self.model_version is not None and (self.pictures() or self.box is not None):
            raise ValueError("pictures and parts of them are embedded by the active model: leave model_version out")
        return self

    def pictures(self) -> list[Picture]:
        """Those that were sent."""
        return [Picture(each, self.box) for each in self.images or ([] if self.image is None else [self.image])]


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
    group_value: Any = Field(
        None,
        exclude_if=lambda value: value is None,
        description="With `group_by`: the label or value that it is the nearest image of.",
        examples=["tulip"],
    )
    group_size: int | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="With `group_by` or `collapse`: how many images that match it stands for, itself among them.",
        examples=[3],
    )
    box: Annotated[Box, WithJsonSchema(BOX)] | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="In a collection with `tiles`: the part of the image that is nearer than the whole: x, y, width,"
        " height, as shares of its width and height.",
    )
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
    next_cursor: NextCursor
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
    """Find the most similar images: to a picture or a part of it, an image id, examples or a vector.

    JSON with exactly one of `image_id`, `positive` (with or without `negative`), `vector`, `image` and `images`
    (base64), or multipart with one or more `file`. Several pictures are of one thing: the mean of their vectors is
    searched by. With `box`, by that part of the one picture or of the image with this `image_id`. With `model_version`,
    by that version's vectors. Images that are part of the query are not among the matches.

    For the next page send the same again with `cursor`, apart from pictures: the cursor stands for them. All pages
    together have up to 10,000 images.
    """
    began = time.perf_counter()
    if request.mimetype == "multipart/form-data":
        fields = {**request.form.to_dict(), "file": request.files.getlist("file")}
        return answered(validated(SearchFormIn.model_validate, fields), began)
    return answered(validated(SearchIn.model_validate, request.get_json()), began)


@bp.post("/search")
@bp.input(LegacySearchIn, arg_name="body")
@bp.output(LegacyOut)
@bp.doc(tags=["Predecessor"], responses=problems(415))
def legacy_search(body: LegacySearchIn) -> Any:
    """Answer the predecessor's request in its own shape: the five nearest, best first."""
    within(None)
    [query] = queries_by_pictures([Picture(body.image)])
    found = find_matches(query, k=LEGACY_K, scope=scope_of(Scoped()))
    return LegacyOut(
        results=[
            LegacyMatch(path=image_links(match.image_id)["file"], simularity=1 - match.distance)
            for match in found.matches
        ]
    )


def answered(asked: SearchIn | SearchFormIn, began: float, embedded: Query | None = None) -> SearchOut:
    """The answer to a search. embedded: the query that its pictures make, where they are embedded already."""
    within(asked.collection)  # before a worker embeds the pictures
    cursor, pictures = cursor_of(asked), [] if embedded else pictures_of(asked)
    part_of = asked.image_id if isinstance(asked, SearchIn) and asked.box is not None else None
    by_pictures: dict[str, Any] = {"asked_by": ["part of", str(part_of)] if part_of else "pictures", "embedded": True}
    without = (part_of,) if part_of else ()
    if embedded or pictures:
        query = embedded or mean_query(queries_by_pictures(pictures))
        return searched(replace(query, examples=without), asked, began, **by_pictures)
    version = version_of(cursor, asked.model_version if isinstance(asked, SearchIn) else None)
    if isinstance(asked, SearchFormIn) or part_of or not (asked.image_id or asked.positive or asked.vector is not None):
        assert cursor is not None
        if cursor.vector is None:
            raise CursorMismatch("The cursor is of a search by an image, examples or a vector: send them with it.")
        return searched(Query(cursor.vector, version, without), asked, began, **by_pictures)
    if asked.vector is not None:
        query = query_by_vector(asked.vector, version)
        return searched(query, asked, began, asked_by=cursors.digest(asked.vector).hex())
    ids = [asked.image_id] if asked.image_id is not None else [*(asked.positive or ()), *asked.negative]
    check_images(ids)
    if asked.image_id is not None:
        query = query_by_image(asked.image_id, version)
    else:
        with transaction() as session:
            query = query_by_images(session, asked.positive or [], asked.negative, version)
    return searched(query, asked, began, asked_by=[list(map(str, ids)), len(asked.negative)])


def pictures_of(asked: SearchIn | SearchFormIn) -> list[Picture]:
    """What a worker is to embed for a search: what was sent, or a part of a stored image; none where a cursor has it.

    Raises NotFound, CursorMismatch.
    """
    pictures = asked.pictures()
    if asked.cursor is not None and pictures:
        raise CursorMismatch("The cursor stands for the pictures of the first page: send it without any.")
    if isinstance(asked, SearchIn) and asked.image_id is not None and asked.box is not None:
        check_images([asked.image_id])
        if asked.cursor is None:
            with transaction() as session:
                pictures = [stored_part(session, asked.image_id, asked.box)]
    return pictures


def searched(query: Query, options: SearchOptions, began: float, *, asked_by: Any, embedded: bool = False) -> SearchOut:
    """The matches, and how they were found. took_ms counts from `began` (perf_counter).

    asked_by: JSON that stands for the query on all pages. embedded: a worker made its vector, so the cursor has it.
    Raises NotFound, NotReady, CursorMismatch.
    """
    scope, cursor = scope_of(options, options.max_distance, tiles=True), cursor_of(options)
    shared = options.model_dump(mode="json", include=OF_ALL_PAGES)
    digest = cursors.digest([shared, scope.collection, asked_by])
    if cursor is not None and cursor.asked != digest:
        raise CursorMismatch("The cursor is of another search: all but `k` and `with` must be as for the page before.")
    page = find_page(
        query,
        k=options.k,
        scope=scope,
        selection=options.selection,
        exact=options.exact,
        with_vectors="vector" in options.parts,
        after=cursor.place if cursor else None,
    )
    found, vector = page.found, query.vector if embedded else None
    next_cursor = page.next and cursors.written(SearchCursor(page.next, found.version_id, digest, vector))
    matches = [match_out(match) for match in found.matches]
    took_ms = round((time.perf_counter() - began) * 1000, 2)
    info = answer_of(SearchInfo, found, requested=options.k, returned=len(matches), took_ms=took_ms)
    return SearchOut(matches=matches, next_cursor=next_cursor, model_version=found.version_id, search=info)


def cursor_of(options: Selected) -> SearchCursor | None:
    """Where the page before ended; None for the first."""
    return None if options.cursor is None else cursors.read(options.cursor)


def version_of(cursor: SearchCursor | None, named: UUID | None) -> VersionKey | None:
    """The version by which to search: the one of the page before, the one named, or (None) the active one.

    Raises NotFound, CursorExpired.
    """
    if cursor is None:
        return named_version(named)
    if named not in (None, cursor.version_id):
        raise CursorMismatch("The cursor is of a search by another model_version.")
    try:
        return named_version(cursor.version_id)
    except NotFound as error:
        raise CursorExpired(f"The page before is of another time: {error.detail}") from error


def named_version(version_id: UUID | None) -> VersionKey | None:
    """The version that a search names; None: the active one. Raises NotFound."""
    if version_id is None:
        return None
    with transaction() as session:
        return versions.get_named_key(session, version_id)


def scope_of(options: Scoped, max_distance: float | None = None, *, tiles: bool = False) -> Scope:
    """The part of the gallery that a request searches. tiles: where the collection has tiles, by these too."""
    return Scope(within(options.collection), options.filter, max_distance, tiles=tiles)


def match_out(match: Match) -> MatchOut:
    similarity, links = 1 - match.distance, image_links(match.image_id)
    return answer_of(MatchOut, match, similarity=similarity, metadata=match.meta, links=links)


def embedded_by(pictures: list[Picture]) -> list[Query | UmbelError | None]:
    """The pictures as queries, or what is wrong with each; many take more than one place. Raises Busy."""
    with rooms.searches().place(-(-len(pictures) // MOST_PICTURES)):
        return embed_pictures(listener(), waker(), settings(), pictures)


def queries_by_pictures(pictures: list[Picture]) -> list[Query]:
    """The pictures as queries, embedded by a worker. Raises Busy while too many wait for one."""
    with rooms.searches().place():
        return query_by_pictures(listener(), waker(), settings(), pictures)

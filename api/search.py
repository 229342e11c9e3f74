"""/v1/search, and /search of the predecessor."""

import time
from typing import Any

from apiflask import APIBlueprint
from flask import request

from api.access import check_images, within
from api.errors import problems, validated
from api.schemas.search import (
    LegacyMatch,
    LegacyOut,
    LegacySearchIn,
    MatchOut,
    Scoped,
    SearchFormIn,
    SearchIn,
    SearchInfo,
    SearchOptions,
    SearchOut,
    image_of,
)
from api.specification import either_body
from umbel.base.database import transaction
from umbel.base.errors import InvalidInput
from umbel.base.notify import listener
from umbel.base.settings import settings
from umbel.jobs.wakeup import waker
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

EITHER_BODY = either_body(json=SearchIn, form=SearchFormIn)


@bp.post("/v1/search")
@bp.output(SearchOut)
@bp.doc(extensions=EITHER_BODY, responses=problems(400, 404, 409, 413, 415, 422, 503))
def search() -> Any:
    """Find the most similar images: to a picture, an image id, examples or a vector.

    JSON with exactly one of `image_id`, `positive` (with or without `negative`), `vector` and `image` (base64), or
    multipart with `file`. Images that are part of the query are not among the matches.
    """
    began = time.perf_counter()
    if request.mimetype == "multipart/form-data":
        form = validated(SearchFormIn.model_validate, {**request.form.to_dict(), **request.files.to_dict()})
        return _by_image(form.file.read(), form, began)
    body = validated(SearchIn.model_validate_json, request.get_data())
    within(body.collection)
    if body.image is not None:
        return _by_image(decoded(body.image), body, began)
    if body.vector is not None:
        return searched(query_by_vector(body.vector), body, began)
    if body.image_id is not None:
        check_images([body.image_id])
        return searched(query_by_image(body.image_id), body, began)
    positive = body.positive or []
    check_images([*positive, *body.negative])
    with transaction() as session:
        query = query_by_images(session, positive, body.negative)
    return searched(query, body, began)


@bp.post("/search")
@bp.input(LegacySearchIn, arg_name="body")
@bp.output(LegacyOut)
@bp.doc(tags=["Predecessor"], responses=problems(400, 413, 415, 422, 503))
def legacy_search(body: LegacySearchIn) -> Any:
    """Answer the predecessor's request in its own shape: the five nearest, best first."""
    within(None)
    [query] = queries_by_image([decoded(body.image)])
    found = find_matches(query, k=LEGACY_K, scope=scope_of(Scoped()))
    return LegacyOut(
        results=[
            LegacyMatch(path=f"/v1/images/{match.image_id}/file", simularity=1 - match.distance)
            for match in found.matches
        ]
    )


def searched(query: Query, options: SearchOptions, began: float) -> SearchOut:
    """The matches, and how they were found. took_ms counts from `began` (perf_counter). Raises NotFound, NotReady."""
    found = find_matches(query, k=options.k, scope=scope_of(options, options.max_distance), exact=options.exact)
    return SearchOut(
        matches=[match_out(match) for match in found.matches],
        model_version=found.version_id,
        search=SearchInfo(
            mode=found.mode,
            requested=options.k,
            returned=len(found.matches),
            ef_search=found.ef_search,
            exhausted=found.exhausted,
            took_ms=round((time.perf_counter() - began) * 1000, 2),
        ),
    )


def _by_image(picture: bytes, options: SearchOptions, began: float) -> SearchOut:
    within(options.collection)  # before a worker embeds the image
    [query] = queries_by_image([picture])
    return searched(query, options, began)


def scope_of(options: Scoped, max_distance: float | None = None) -> Scope:
    """The part of the gallery that a request searches."""
    return Scope(within(options.collection), options.filter.as_filter(), max_distance)


def match_out(match: Match) -> MatchOut:
    link = f"/v1/images/{match.image_id}"
    return MatchOut(
        image_id=match.image_id,
        distance=match.distance,
        similarity=1 - match.distance,
        collection=match.collection,
        label=match.label,
        metadata=match.meta,
        links={"self": link, "file": f"{link}/file", "thumbnail": f"{link}/thumbnail"},
    )


def queries_by_image(images: list[bytes]) -> list[Query]:
    """The pictures as queries, embedded by a worker."""
    return query_by_pictures(listener(), waker(), settings(), images)


def decoded(base64: str) -> bytes:
    """The picture's bytes. Raises InvalidInput."""
    try:
        return image_of(base64)
    except ValueError as error:
        raise InvalidInput(str(error)) from error

"""/v1/search, and the predecessor's /search."""

import time
from typing import Any
from uuid import UUID

from apiflask import APIBlueprint
from flask import request
from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.errors import invalid_fields, problems
from api.schemas.fields import inline_schema
from api.schemas.search import (
    LegacyMatch,
    LegacyOut,
    LegacySearchIn,
    MatchOut,
    SearchFormIn,
    SearchIn,
    SearchInfo,
    SearchOptions,
    SearchOut,
    picture_of,
)
from core.doorbell import doorbell
from core.errors import InvalidInput
from core.settings import settings
from db import collections
from db.notify import listener
from db.search import Match, Scope
from db.session import transaction
from services.search import Query, find_matches, query_by_image, query_by_picture, query_by_vector

bp = APIBlueprint("search", __name__, tag="Search")

LEGACY_K = 5

EITHER_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": inline_schema(SearchIn)},
            "multipart/form-data": {"schema": inline_schema(SearchFormIn)},
        },
    }
}


@bp.post("/v1/search")
@bp.output(SearchOut)
@bp.doc(extensions=EITHER_BODY, responses=problems(400, 404, 413, 415, 422, 503))
def search() -> Any:
    """Find the most similar images: by picture, by image id or by vector.

    JSON with exactly one of `image_id`, `vector` and `image` (base64), or multipart with `file`.
    """
    began = time.perf_counter()
    if request.mimetype == "multipart/form-data":
        form = SearchFormIn.model_validate({**request.form.to_dict(), **request.files.to_dict()})
        return _answer(form, _picture_query(form.file.read()), began)
    body = SearchIn.model_validate(request.get_json(force=True))
    if body.image is not None:
        return _answer(body, _picture_query(_decoded(body.image)), began)
    with transaction() as session:
        if body.image_id is not None:
            query = query_by_image(session, body.image_id)
        else:
            query = query_by_vector(session, body.vector or [])
    return _answer(body, query, began, without=body.image_id)


@bp.post("/search")
@bp.input(LegacySearchIn, arg_name="body")
@bp.output(LegacyOut)
@bp.doc(tags=["Predecessor"], responses=problems(400, 413, 415, 422, 503))
def legacy_search(body: LegacySearchIn) -> Any:
    """Answer the predecessor's request in its own shape: the five nearest, best first."""
    query = _picture_query(_decoded(body.image))
    with transaction() as session:
        found = find_matches(session, query, k=LEGACY_K, scope=Scope())
    return LegacyOut(
        results=[
            LegacyMatch(path=f"/v1/images/{match.image_id}/file", simularity=1 - match.distance)
            for match in found.matches
        ]
    )


@bp.errorhandler(ValidationError)
def invalid(error: ValidationError) -> Any:
    return invalid_fields(error)


def scope_of(
    session: Session,
    collection: str | None,
    *,
    max_distance: float | None = None,
    without: UUID | None = None,
    options: SearchOptions | None = None,
) -> Scope:
    """The part of the gallery that a request asks for. Raises NotFound for a collection that is not there."""
    return Scope(
        collection_id=collections.get_collection(session, collection) if collection else None,
        labels=options.filter.label if options else None,
        metadata=options.filter.metadata if options else {},
        max_distance=max_distance,
        without=without,
    )


def searched(
    session: Session, query: Query, *, k: int, scope: Scope, exact: bool = False, began: float | None = None
) -> SearchOut:
    """The matches, and how they were found. took_ms counts from `began` (perf_counter), else from now."""
    began = began or time.perf_counter()
    found = find_matches(session, query, k=k, scope=scope, exact=exact)
    return SearchOut(
        matches=[match_out(match) for match in found.matches],
        model_version=query.version.id,
        search=SearchInfo(
            mode=found.mode,
            requested=k,
            returned=len(found.matches),
            exhausted=found.exhausted,
            took_ms=round((time.perf_counter() - began) * 1000, 2),
        ),
    )


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


def _answer(options: SearchOptions, query: Query, began: float, without: UUID | None = None) -> SearchOut:
    with transaction() as session:
        scope = scope_of(
            session, options.collection, max_distance=options.max_distance, without=without, options=options
        )
        return searched(session, query, k=options.k, scope=scope, exact=options.exact, began=began)


def _picture_query(picture: bytes) -> Query:
    return query_by_picture(transaction, listener(), doorbell(), settings(), picture)


def _decoded(base64: str) -> bytes:
    try:
        return picture_of(base64)
    except ValueError as error:
        raise InvalidInput(str(error)) from error

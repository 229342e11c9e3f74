"""/v1/search:batch: many searches in one request."""

import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from apiflask import APIBlueprint
from apiflask.exceptions import HTTPError
from flask import request
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from api import rates
from api.access import within
from api.errors import ProblemOut, problem_here, status_of, validated
from api.fields import Strict
from api.search import SearchIn, SearchOut, answered, embedded_by, pictures_of
from api.specification import either_body
from umbel.base.errors import UmbelError
from umbel.embedding.query_images import Picture
from umbel.search.search import Query, all_embedded, mean_query

bp = APIBlueprint("search_batch", __name__, tag="Search")

T = TypeVar("T")

MOST_QUERIES = 100
MANY = Field(min_length=1, max_length=MOST_QUERIES)


class BatchIn(Strict):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"queries": [{"image_id": "019b2f6e-0000-7000-8000-000000000000", "k": 5}, {"vector": [0.6, -0.8]}]}
            ]
        }
    )

    queries: Annotated[list[SearchIn], MANY]


class Unread(TypedDict):
    """A batch whose searches are still to be looked at, each by itself."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    queries: Annotated[list[Any], MANY]


UNREAD = TypeAdapter(Unread)


class BatchOut(BaseModel):
    answers: list[SearchOut | ProblemOut] = Field(
        description="In the order of the queries: what each is answered with, or its problem, which has a `status`."
    )
    took_ms: float = Field(examples=[42.0])


@bp.post("/v1/search:batch")
@bp.output(BatchOut)
@bp.doc(extensions=either_body(json=BatchIn))
def search_batch() -> Any:
    """Search up to 100 times in one request.

    A query is what POST /v1/search takes as JSON. One that cannot be answered has its problem in its place; only what
    would fail them all, such as `503`, fails the request. Pictures are embedded together. For rate limits a batch
    counts as as many requests as it has queries.
    """
    began = time.perf_counter()
    queries = validated(UNREAD.validate_python, request.get_json())["queries"]
    rates.count_batch(len(queries))
    asked = [_attempted(lambda query=query: _read(query)) for query in queries]  # type: ignore[misc]
    embedded = _embedded([[] if isinstance(one, ProblemOut) else one[1] for one in asked])
    answers = [
        one if isinstance(one, ProblemOut) else _attempted(lambda one=one, found=found: _answer(one[0], found))  # type: ignore[misc]
        for one, found in zip(asked, embedded, strict=True)
    ]
    return BatchOut(answers=answers, took_ms=round((time.perf_counter() - began) * 1000, 2))


def _read(query: Any) -> tuple[SearchIn, list[Picture]]:
    """A search, and what is to be embedded for it."""
    asked = validated(SearchIn.model_validate, query)
    within(asked.collection)  # before a worker embeds its pictures
    return asked, pictures_of(asked)


def _embedded(pictures: list[list[Picture]]) -> list[list[Query | UmbelError | None]]:
    """The pictures of each search as queries, all embedded together."""
    every = [picture for some in pictures for picture in some]
    found = iter(embedded_by(every) if every else ())
    return [[next(found) for _ in some] for some in pictures]


def _answer(asked: SearchIn, found: list[Query | UmbelError | None]) -> SearchOut:
    return answered(asked, time.perf_counter(), mean_query(all_embedded(found)) if found else None)


def _attempted(work: Callable[[], T]) -> T | ProblemOut:
    """What `work` returns, or the problem that it ends with; what is not the query's own fault is raised."""
    try:
        return work()
    except UmbelError as error:
        if status_of(error) >= 500:
            raise
        return ProblemOut(**problem_here(status_of(error), error.code, error.detail))
    except HTTPError as error:
        return ProblemOut(**problem_here(error.status_code, "invalid_input", error.message or "", errors=error.detail))

"""Searches: as requests to the API, one, page by page, or many at once."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict
from uuid import UUID

from umbel_client.connection import Connection, content, form_of
from umbel_client.errors import ApiError, error_of
from umbel_client.search import SearchResult

Image = Path | str | bytes  # a path, or the bytes
Box = tuple[float, float, float, float]  # x, y, width, height, as shares of a picture's width and height
PAGE = 200


class SearchOptions(TypedDict, total=False):
    """What a search may say, beside a picture: see `Umbel.search`."""

    image_id: UUID | None
    positive: Sequence[UUID] | None
    negative: Sequence[UUID]
    vector: Sequence[float] | None
    box: Box | None
    k: int
    collection: str | None
    filter: dict[str, Any] | None
    max_distance: float | None
    exact: bool | None
    model_version: UUID | None
    with_vectors: bool
    collapse: Literal["duplicates"] | None
    group_by: str | None
    diversity: float | None
    cursor: str | None


class Search(SearchOptions, total=False):
    """One search of a batch. image: a picture, or several of one thing."""

    image: Image | Sequence[Image] | None


class Queries:
    """Sends searches."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def one(self, image: Image | Sequence[Image] | None, options: SearchOptions) -> SearchResult:
        """The answer to one search."""
        pictures, said = _pictures(image), _said(options)
        if pictures:
            files = [("file", ("picture", content(each))) for each in pictures]
            said |= {"with": said["with"][0]} if "with" in said else {}
            return SearchResult.decode(self._ask("/v1/search", data=form_of(**said), files=files))
        return SearchResult.decode(self._ask("/v1/search", json=said))

    def pages(
        self, image: Image | Sequence[Image] | None, options: SearchOptions, *, limit: int | None, page_size: int
    ) -> Iterator[SearchResult]:
        """The pages of a search, each fetched when it is reached, until there are no more or `limit` matches."""
        cursor: str | None = options.get("cursor")
        while limit is None or limit > 0:
            k = page_size if limit is None else min(limit, page_size)
            page = self.one(image, {**options, "k": k, "cursor": cursor})
            yield page
            cursor, image = page.next_cursor, None  # which the cursor stands for
            limit = None if limit is None else limit - len(page.matches)
            if cursor is None:
                return

    def batch(self, queries: Sequence[Search]) -> list[SearchResult | ApiError]:
        """The answers to many searches, in their order."""
        answer = self._ask("/v1/search:batch", json={"queries": [_batched(query) for query in queries]})
        return [
            error_of(one["status"], one) if "status" in one else SearchResult.decode(one) for one in answer["answers"]
        ]

    def _ask(self, path: str, **body: Any) -> Any:
        return self._connection.json("POST", path, repeatable=True, **body)  # a search changes nothing


def _pictures(image: Image | Sequence[Image] | None) -> list[Image]:
    if image is None:
        return []
    return [image] if isinstance(image, Path | str | bytes) else list(image)


def _batched(query: Search) -> dict[str, Any]:
    pictures = [b64encode(content(each)).decode() for each in _pictures(query.get("image"))]
    said = _said({key: value for key, value in query.items() if key != "image"})
    return said | ({"images": pictures} if pictures else {})


def _said(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say something, as the API calls them, in JSON."""
    said = {key: _plain(value) for key, value in options.items() if value is not None and value != ()}
    return said | ({"with": ["vector"]} if said.pop("with_vectors", False) else {})


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return value if isinstance(value, str | dict | int | float) else [_plain(each) for each in value]

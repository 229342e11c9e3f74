"""`umbel.curation`: which images to look at first, by what a comparison of all images has stored."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from umbel_client.answer import Answer
from umbel_client.connection import Connection, as_text, given


class Curated(Answer):
    """An image of one of the lists."""

    image_id: UUID
    collection: str
    name: str | None
    external_id: str | None
    label: str | None


class Outlier(Curated):
    """distance: cosine, to the farthest of its 16 nearest; usual: the median of these in its collection; assessment:
    the same in words."""

    distance: float
    usual: float
    times_usual: float | None
    assessment: str
    compared_at: datetime


class Outliers(Answer):
    """A page of the `compared` images, the least like others first; `waiting` ones have not been compared yet."""

    items: list[Outlier]
    next_cursor: str | None
    compared: int
    waiting: int


class Representative(Curated):
    """stands_for: images that are more similar to it than to the others, itself included."""

    stands_for: int


class Representatives(Answer):
    """items: the first few are the choice of so few; coverage: mean similarity of the images considered to theirs."""

    items: list[Representative]
    considered: int
    coverage: float
    compared: int
    waiting: int


class Suggestion(Curated):
    """An image to label. suggested_label, confidence: what its neighbors say; stands_for: images it would speak for."""

    suggested_label: str | None
    confidence: float
    stands_for: int


class LabelNext(Answer):
    """items: the image whose label would tell most first; labelled, unlabelled: how many there are of either."""

    items: list[Suggestion]
    labelled: int
    unlabelled: int
    compared: int
    waiting: int


class Curation:
    """Images to look at first. `duplicates.compare` compares what is new.

    filter: as docs/reference/filters.md has it; model_version: by another version's vectors than the active one's.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def outliers(
        self,
        *,
        collection: str | None = None,
        filter: dict[str, Any] | None = None,
        model_version: UUID | None = None,
    ) -> Iterator[Outlier]:
        """All images, the one that is least like anything else first."""
        return self._connection.pages(Outlier, "/v1/outliers", **_query(collection, filter, model_version))

    def outliers_page(
        self,
        *,
        collection: str | None = None,
        filter: dict[str, Any] | None = None,
        model_version: UUID | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Outliers:
        """One page of the outliers, and how many images were compared."""
        query = _query(collection, filter, model_version) | given(limit=limit, cursor=cursor)
        return Outliers.decode(self._connection.json("GET", "/v1/outliers", params=query))

    def representatives(
        self,
        *,
        collection: str | None = None,
        filter: dict[str, Any] | None = None,
        model_version: UUID | None = None,
        limit: int | None = None,
    ) -> Representatives:
        """The images, `limit` of them, that together stand best for all that pass the filter."""
        query = _query(collection, filter, model_version) | given(limit=limit)
        return Representatives.decode(self._connection.json("GET", "/v1/representatives", params=query))

    def label_next(
        self,
        *,
        collection: str | None = None,
        filter: dict[str, Any] | None = None,
        model_version: UUID | None = None,
        limit: int | None = None,
    ) -> LabelNext:
        """The images without a label, `limit` of them, that are most worth one, by the labels as they are now."""
        query = _query(collection, filter, model_version) | given(limit=limit)
        return LabelNext.decode(self._connection.json("GET", "/v1/label-next", params=query))


def _query(collection: str | None, filter: dict[str, Any] | None, model_version: UUID | None) -> dict[str, Any]:
    version = model_version and str(model_version)
    return given(collection=collection, filter=as_text(filter), model_version=version)

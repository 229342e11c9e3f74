"""Answers of `facets`: what images have in common, counted."""

from typing import Any

from umbel_client.answer import Answer


class Facet(Answer):
    """A value and how many images have it. filter: what these pass; None for a collection."""

    value: Any
    count: int
    filter: dict[str, Any] | None


class Facets(Answer):
    """values: the most frequent first, times the newest first; further: how many values there are beyond these.

    images: that pass the filter; missing: of these, those without a value.
    """

    by: str
    values: list[Facet]
    further: int
    images: int
    missing: int

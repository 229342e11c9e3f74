"""Facets: how many of the images that pass a filter have each label, value of a metadata key, collection or time."""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal, Self, cast

from sqlalchemy import BigInteger, ColumnElement, FromClause, Text, case, func, literal_column, select, text, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from umbel.gallery.filter_sql import I
from umbel.gallery.filters import Filter
from umbel.gallery.passing import passing

Kind = Literal["label", "collection", "metadata", "year", "month", "day"]
TIMES: dict[Kind, str] = {"year": "YYYY", "month": "YYYY-MM", "day": "YYYY-MM-DD"}
WAYS = "label, collection, metadata.KEY, created_at.year, created_at.month or created_at.day"
PATTERN = r"^(?:(label|collection)|created_at\.(year|month|day)|metadata\.([\s\S]*))$"


@dataclass(frozen=True, slots=True)
class By:
    """What is counted by. key: of the metadata."""

    kind: Kind
    key: str | None = None

    @classmethod
    def parse(cls, written: str) -> Self:
        """One of WAYS. Raises ValueError."""
        found = re.fullmatch(PATTERN, written)
        if found is None:
            raise ValueError(f"must be {WAYS}")
        column, unit, key = found.groups()
        return cls("metadata", key) if key is not None else cls(cast(Kind, column or unit))


@dataclass(frozen=True, slots=True)
class Facet:
    """A value and how many images have it. filter: what these pass; None where no filter says it."""

    value: Any
    count: int
    filter: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Facets:
    """values: the most frequent first, times the newest first; further: how many values there are beyond these.

    images: that pass the filter; missing: of these, those without any value.
    """

    values: list[Facet]
    further: int
    images: int
    missing: int


def count_facets(session: Session, by: By, asked: Filter, *, collection: str | None, limit: int) -> Facets:
    """The first `limit` values of the images that pass, in this collection or (None) in all that are not deleted.

    Values are scalars. An image with a list has each scalar in it; objects are not counted by.
    """
    grouped = (
        select(_grouped(by).label("value"), func.count().label("images"))
        .select_from(I)
        .where(*passing(session, asked, collection=collection))
        .group_by(text("1"))
        .cte("grouped")
    )
    # What is grouped already is split into its elements: of equal lists, one.
    split = select(grouped.c.images, literal_column(ELEMENTS[by.kind]).label("elements")).cte("split")
    each = select(func.unnest(split.c.elements).label("value"), split.c.images).subquery("each")
    counted = select(each.c.value, _sum(each.c.images).label("images")).group_by(each.c.value).cte("counted")
    sums = select(
        _sum(split.c.images).label("images"),
        _sum(case((func.cardinality(split.c.elements) == 0, split.c.images), else_=0)).label("missing"),
        select(func.count()).select_from(counted).scalar_subquery().label("values"),
    ).subquery("sums")
    first = select(counted).order_by(*_order(by, counted)).limit(limit).subquery("first")
    statement = (
        select(sums, first.c.value.cast(JSONB), first.c.images)
        .select_from(sums.outerjoin(first, true()))
        .order_by(*_order(by, first))
    )
    rows = session.execute(statement).all()
    images, missing, values = rows[0][:3]
    found = [Facet(value, count, filter_of(by, value)) for *_, value, count in rows if count is not None]
    return Facets(found, values - len(found), images, missing)


def filter_of(by: By, value: Any) -> dict[str, Any] | None:
    """The filter that those images pass which have a value, alone or in a list; None for a collection."""
    match by.kind:
        case "label":
            return {"label": [value]}
        case "metadata":
            return {"metadata": {by.key: {"in": [value, [value]]}}}
        case "collection":
            return None
    return {"created_at": dict(zip(("gte", "lt"), _bounds(value), strict=True))}


# The scalars in a group's value.
SCALAR = "CASE WHEN value IS NULL THEN '{{}}' ELSE ARRAY[to_jsonb({value})] END"
ELEMENTS: dict[Kind, str] = {
    "label": SCALAR.format(value="value"),
    "collection": SCALAR.format(value="(SELECT name FROM collection WHERE id = value)"),
    "metadata": """CASE jsonb_typeof(value) WHEN 'object' THEN '{}' WHEN 'array' THEN ARRAY(
        SELECT DISTINCT element FROM jsonb_array_elements(value) element
        WHERE jsonb_typeof(element) NOT IN ('object', 'array')
    ) ELSE CASE WHEN value IS NULL THEN '{}' ELSE ARRAY[value] END END""",
    **{unit: SCALAR.format(value=f"to_char(value, '{form}')") for unit, form in TIMES.items()},
}


def _grouped(by: By) -> Any:
    """What images are grouped by."""
    match by.kind:
        case "label":
            return I.label
        case "collection":
            return I.collection_id
        case "metadata":
            return I.meta[by.key]
    return func.date_trunc(by.kind, func.timezone("UTC", I.created_at))


def _order(by: By, values: FromClause) -> list[ColumnElement[Any]]:
    as_text = values.c.value.cast(Text).collate("C")
    return [as_text.desc()] if by.kind in TIMES else [values.c.images.desc(), as_text]


def _sum(column: ColumnElement[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(column), 0).cast(BigInteger)


def _bounds(value: str) -> tuple[str, str]:
    """The beginnings of a year, month or day, and of the next one, in UTC."""
    year, month, day = (int(part) for part in (*value.split("-"), "1", "1")[:3])
    first = date(year, month, day)
    match len(value):
        case 4:
            following = first.replace(year=year + 1)
        case 7:
            following = (first + timedelta(days=31)).replace(day=1)
        case _:
            following = first + timedelta(days=1)
    return f"{first}T00:00:00Z", f"{following}T00:00:00Z"

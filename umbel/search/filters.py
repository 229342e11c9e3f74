"""Conditions on images as SQL: psycopg quotes every value, every type is checked where it is compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, LiteralString

from psycopg.sql import SQL, Composable, Literal
from psycopg.types.json import Jsonb


class Operator(StrEnum):
    """How a metadata value is compared. The value is how people write it."""

    EQ = "$eq"
    IN = "$in"
    GT = "$gt"
    GTE = "$gte"
    LT = "$lt"
    LTE = "$lte"
    EXISTS = "$exists"


MOST_VALUES = 100  # in one list
RANGES: dict[Operator, LiteralString] = {Operator.GT: ">", Operator.GTE: ">=", Operator.LT: "<", Operator.LTE: "<="}


@dataclass(frozen=True, slots=True)
class Condition:
    """What a key of an image's metadata must be.

    EQ: contains this JSON value (a scalar is equal; an object has at least these keys; a list has at least these
    elements). IN: contains one of these. GT, GTE, LT, LTE: a number compared with a number, or text with text by code
    points; anything else never matches. EXISTS: the key is there (True) or is not (False), null included.
    """

    key: str
    operator: Operator
    value: Any


@dataclass(frozen=True, slots=True)
class Filter:
    """Which images may match; all conditions must hold.

    labels: one of these; None: any, or none at all. labelled: has a label.
    """

    labels: Sequence[str] | None = None
    labelled: bool = False
    metadata: Sequence[Condition] = ()

    def __bool__(self) -> bool:
        return self.labels is not None or self.labelled or bool(self.metadata)

    @property
    def indexed(self) -> bool:
        """Whether an index finds the images: then counting them is cheap, however few they are."""
        found = any(each.operator in (Operator.EQ, Operator.IN) for each in self.metadata)
        return found or self.labelled or self.labels is not None


def conditions_of(metadata: Mapping[str, Any]) -> list[Condition]:
    """What people write as a filter: for each key a value, or an object of operators. Raises ValueError."""
    return [condition for key, asked in metadata.items() for condition in _conditions(key, asked)]


def _conditions(key: str, asked: Any) -> Iterator[Condition]:
    if not isinstance(asked, dict) or not any(name.startswith("$") for name in asked):
        yield Condition(key, Operator.EQ, asked)
        return
    for name, value in asked.items():
        if name not in set(Operator):
            raise ValueError(
                f"{name} of {key} is none of {', '.join(Operator)}; for an object with such a key write {{'$eq': …}}"
            )
        condition = Condition(key, Operator(name), value)
        _check(condition)
        yield condition


def _check(condition: Condition) -> None:
    """Raises ValueError for a value that the operator cannot be used with."""
    name, value = f"{condition.operator} of {condition.key}", condition.value
    match condition.operator:
        case Operator.IN if not isinstance(value, list) or len(value) > MOST_VALUES:
            raise ValueError(f"{name} must be a list of at most {MOST_VALUES} values")
        case Operator.EXISTS if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false")
        case Operator.GT | Operator.GTE | Operator.LT | Operator.LTE:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise ValueError(f"{name} must be a number or text")


def filter_sql(asked: Filter) -> str:
    """The filter as SQL over the image `i`, its values quoted as literals. TRUE where anything may match."""
    terms = [_condition_sql(condition) for condition in asked.metadata]
    if asked.labels is not None:
        terms.append(SQL("i.label = ANY ({}::text[])").format(list(asked.labels)))
    if asked.labelled:
        terms.append(SQL("i.label IS NOT NULL"))
    return SQL(" AND ").join(terms).as_string() or "TRUE"


def _condition_sql(condition: Condition) -> Composable:
    key, operator, value = condition.key, condition.operator, condition.value
    if operator == Operator.EQ:
        return SQL("i.metadata @> {}").format(Jsonb({key: value}))
    if operator == Operator.IN:  # one by one, as no GIN index knows what `@> ANY` means
        some: list[Composable] = [SQL("i.metadata @> {}").format(Jsonb({key: one})) for one in value]
        return SQL("({})").format(SQL(" OR ").join(some or [SQL("FALSE")]))
    if operator == Operator.EXISTS:
        return SQL("jsonb_exists(i.metadata, {}) = {}").format(key, bool(value))
    # CASE, as Postgres may otherwise try the cast before it has looked at the type.
    if isinstance(value, str):
        kind, left, right = "string", SQL('(i.metadata ->> {}) COLLATE "C"').format(key), Literal(value)
    else:
        kind, left, right = "number", SQL("(i.metadata -> {})::numeric").format(key), Literal(Decimal(str(value)))
    return SQL("CASE jsonb_typeof(i.metadata -> {}) WHEN {} THEN {} {} {} ELSE FALSE END").format(
        key, kind, left, SQL(RANGES[operator]), right
    )

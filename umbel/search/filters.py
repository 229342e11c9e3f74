"""Conditions on images as SQL: every value is a bound parameter, every type is checked where it is compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import BindParameter, bindparam
from sqlalchemy.dialects.postgresql import JSONB


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
RANGES = {Operator.GT: ">", Operator.GTE: ">=", Operator.LT: "<", Operator.LTE: "<="}


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
            raise ValueError(f"{name} of {key} is none of {', '.join(Operator)}")
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


def filter_sql(asked: Filter) -> tuple[str, list[BindParameter[Any]]]:
    """SQL over the image `i`, with its parameters. TRUE where anything may match."""
    terms: list[str] = []
    parameters: list[BindParameter[Any]] = []
    if asked.labels is not None:
        terms.append("i.label = ANY (:labels)")
        parameters.append(bindparam("labels", list(asked.labels)))
    if asked.labelled:
        terms.append("i.label IS NOT NULL")
    for number, condition in enumerate(asked.metadata):
        term, values = _condition_sql(condition, f"m{number}")
        terms.append(term)
        parameters += [_bound(name, value) for name, value in values.items()]
    return " AND ".join(terms) or "TRUE", parameters


def _condition_sql(condition: Condition, name: str) -> tuple[str, Mapping[str, Any]]:
    """One condition, its parameters called `name`… ."""
    key, operator, value = condition.key, condition.operator, condition.value
    if operator == Operator.EQ:
        return f"i.metadata @> :{name}", {name: {key: value}}
    if operator == Operator.IN:  # one by one, as no GIN index knows what `@> ANY` means
        names = [f"{name}_{at}" for at in range(len(value))]
        some = " OR ".join(f"i.metadata @> :{each}" for each in names) or "FALSE"
        return f"({some})", {each: {key: one} for each, one in zip(names, value, strict=True)}
    if operator == Operator.EXISTS:
        return f"jsonb_exists(i.metadata, :{name}) = :{name}_there", {name: key, f"{name}_there": bool(value)}
    # CASE, as Postgres may otherwise try the cast before it has looked at the type.
    element, is_text = f"i.metadata -> :{name}_key", isinstance(value, str)
    kind, left = (
        ("string", f'(i.metadata ->> :{name}_key) COLLATE "C"') if is_text else ("number", f"({element})::numeric")
    )
    compared = f"{left} {RANGES[operator]} :{name}"
    return (
        f"CASE jsonb_typeof({element}) WHEN '{kind}' THEN {compared} ELSE FALSE END",
        {f"{name}_key": key, name: value if is_text else Decimal(str(value))},
    )


def _bound(name: str, value: Any) -> BindParameter[Any]:
    return bindparam(name, value, type_=JSONB) if isinstance(value, dict) else bindparam(name, value)

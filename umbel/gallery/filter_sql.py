"""Filters as SQL over the image `i`. No value becomes part of it: the driver sends them beside it, or quotes them."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, LiteralString

from psycopg.sql import SQL
from psycopg.types.json import Jsonb
from sqlalchemy import ColumnElement, bindparam, text
from sqlalchemy.orm import aliased
from sqlalchemy.types import NullType

from umbel.base.tables import Image
from umbel.gallery.filters import Filter, MetadataCondition, Operator, TextCondition

I = aliased(Image, name="i")  # noqa: E741 - what `filter_clause` is about

COMPARISONS: dict[Operator, LiteralString] = {
    Operator.EQ: "=", Operator.GT: ">", Operator.GTE: ">=", Operator.LT: "<", Operator.LTE: "<="
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Clause:
    """SQL with a %s for each of the values."""

    sql: LiteralString
    values: tuple[Any, ...] = ()


def filter_clause(asked: Filter) -> ColumnElement[bool]:
    """The filter for a statement that selects from `I`."""
    clause = _translated(asked)
    names = [f"filter_{number}" for number in range(len(clause.values))]
    parts = clause.sql.split("%s")
    sql = "".join(f"{part}:{name}" for part, name in zip(parts, names, strict=False)) + parts[-1]
    # NullType: each value as the driver knows it, since the SQL says its type.
    values = [bindparam(name, value, NullType(), unique=True) for name, value in zip(names, clause.values, strict=True)]
    return text(f"({sql})").bindparams(*values)  # type: ignore[return-value]


def filter_literal(asked: Filter) -> str:
    """The filter as text, its values quoted by psycopg, for `search_images`, which puts its statement together."""
    clause = _translated(asked)
    return SQL(clause.sql.replace("%s", "{}")).format(*clause.values).as_string()


def is_indexed(asked: Filter) -> bool:
    """Whether an index finds the images: then to count them up to a limit is cheap, however few they are."""
    by_label = asked.label is not None and any(
        operator in (Operator.EQ, Operator.IN) or (operator is Operator.EXISTS and value)
        for operator, value in asked.label.terms()
    )
    by_external_id = asked.external_id is not None and any(
        operator in (Operator.EQ, Operator.IN) for operator, _ in asked.external_id.terms()
    )
    by_metadata = any(
        (operator is Operator.EQ and _has_scalar(value)) or (operator is Operator.IN and all(map(_has_scalar, value)))
        for condition in asked.metadata.values()
        for operator, value in condition.terms()
    )
    by_parts = any(map(is_indexed, asked.all or ())) or (asked.any is not None and all(map(is_indexed, asked.any)))
    return by_label or by_external_id or asked.created_at is not None or by_metadata or by_parts


def _has_scalar(value: Any) -> bool:
    """Whether the index on metadata has an entry for it, which it makes for scalars alone."""
    if isinstance(value, dict | list):
        return any(map(_has_scalar, value.values() if isinstance(value, dict) else value))
    return True


def _translated(asked: Filter) -> Clause:
    """What may be null is not true, and IS NOT TRUE takes it for that; AND and OR do so, too."""
    clauses: list[Clause] = []
    if asked.label is not None:
        clauses += _text("i.label", asked.label)
    if asked.name is not None:
        clauses += _text("i.name", asked.name)
    if asked.external_id is not None:
        clauses += _text("i.external_id", asked.external_id)
    if asked.created_at is not None:
        for operator, value in asked.created_at.terms():
            clauses.append(Clause("i.created_at " + COMPARISONS[operator] + " CAST(%s AS timestamptz)", (value,)))
    for key, condition in asked.metadata.items():
        clauses += _metadata(key, condition)
    if asked.any is not None:
        clauses.append(_joined(" OR ", map(_translated, asked.any), empty="FALSE"))
    clauses += map(_translated, asked.all or ())
    if asked.not_ is not None:
        inner = _translated(asked.not_)
        clauses.append(Clause("(" + inner.sql + ") IS NOT TRUE", inner.values))
    return _joined(" AND ", clauses, empty="TRUE")


def _joined(word: LiteralString, clauses: Iterable[Clause], *, empty: LiteralString) -> Clause:
    some = list(clauses)
    if len(some) < 2:
        return some[0] if some else Clause(empty)
    return Clause("(" + word.join([each.sql for each in some]) + ")", tuple(v for each in some for v in each.values))


def _text(column: LiteralString, condition: TextCondition) -> Iterable[Clause]:
    for operator, value in condition.terms():
        match operator:
            case Operator.IN:
                yield Clause(column + " = ANY (CAST(%s AS text[]))", (value,))
            case Operator.EXISTS:
                yield Clause(column + (" IS NOT NULL" if value else " IS NULL"))
            case Operator.PREFIX:
                yield Clause(column + " ^@ CAST(%s AS text)", (value,))
            case Operator.EQ:
                yield Clause(column + " = CAST(%s AS text)", (value,))
            case _:
                yield Clause(column + ' COLLATE "C" ' + COMPARISONS[operator] + " CAST(%s AS text)", (value,))


def _metadata(key: str, condition: MetadataCondition) -> Iterable[Clause]:
    for operator, value in condition.terms():
        match operator:
            case Operator.EQ:
                yield Clause("i.metadata @> %s", (Jsonb({key: value}),))
            case Operator.IN:  # one by one, as no GIN index knows what `@> ANY` means
                some = [Clause("i.metadata @> %s", (Jsonb({key: one}),)) for one in value]
                yield _joined(" OR ", some, empty="FALSE")
            case Operator.EXISTS:
                yield Clause(("" if value else "NOT ") + "jsonb_exists(i.metadata, CAST(%s AS text))", (key,))
            case Operator.PREFIX:
                yield _typed(key, "string", "(i.metadata ->> CAST(%s AS text)) ^@ CAST(%s AS text)", value)
            case _ if isinstance(value, str):
                left = '(i.metadata ->> CAST(%s AS text)) COLLATE "C" '
                yield _typed(key, "string", left + COMPARISONS[operator] + " CAST(%s AS text)", value)
            case _:
                left = "CAST(i.metadata -> CAST(%s AS text) AS numeric) "
                sql = left + COMPARISONS[operator] + " CAST(%s AS numeric)"
                yield _typed(key, "number", sql, Decimal(str(value)))


def _typed(key: str, kind: LiteralString, comparison: LiteralString, value: Any) -> Clause:
    """A comparison of a key with a value, of JSON of this type. CASE, as Postgres may otherwise try the cast before it
    has looked at the type."""
    sql = "CASE jsonb_typeof(i.metadata -> CAST(%s AS text)) WHEN '" + kind + "' THEN " + comparison
    return Clause(sql + " ELSE FALSE END", (key, key, value))

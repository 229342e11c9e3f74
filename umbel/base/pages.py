"""Pages of long lists: each is read from an index in the order of the ids, however many rows there are."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, cast, func, select, true
from sqlalchemy.orm import InstrumentedAttribute

Column = InstrumentedAttribute[Any] | ColumnElement[Any]  # as an index has it


def page_ids(
    rows_id: Column,
    groups: Mapping[Column, Sequence[Any]],
    *conditions: ColumnElement[bool],
    limit: int,
    descending: bool = True,
) -> Select[tuple[UUID]]:
    """The first `limit` ids, in order, of the rows of which each column of `groups` has one of its values.

    An index must begin with these columns and the id. It is asked for the first `limit` of each combination of values,
    and these are merged: to filter or to sort what all combinations have could take as long as there are rows.
    """
    values = [
        func.unnest(cast(list(some), ARRAY(column.type))).table_valued("value").render_derived()
        for column, some in groups.items()
    ]
    order = rows_id.desc() if descending else rows_id
    same = [column == some.c.value for column, some in zip(groups, values, strict=True)]
    each = select(rows_id.label("id")).where(*same, *conditions).order_by(order).limit(limit)
    page = each.correlate(*values).lateral("page")
    combined = reduce(lambda left, right: left.join(right, true()), [*values, page])  # type: ignore[arg-type,return-value]
    return select(page.c.id).select_from(combined).order_by(page.c.id.desc() if descending else page.c.id).limit(limit)

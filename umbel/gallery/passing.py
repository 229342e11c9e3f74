"""Images that pass a filter: found newest first, and counted."""

from uuid import UUID

from sqlalchemy import ColumnElement, case, func, select, text
from sqlalchemy.orm import Session

from umbel.base.tables import Collection
from umbel.gallery.collections import NOT_DELETED, PRESENT
from umbel.gallery.filter_sql import I, filter_clause, is_indexed
from umbel.gallery.filters import Filter

FEW = 2_000  # images that are sorted, when an index finds them, rather than looked for among all


def passing(session: Session, asked: Filter, *, collection: str | None) -> list[ColumnElement[bool]]:
    """What `I` must meet: pass the filter, be in the collection, or (None) in one that is not deleted.

    For statements of this transaction, which are planned for their values: how many pass depends on them.
    """
    session.execute(select(func.set_config("plan_cache_mode", "force_custom_plan", True)))
    within: ColumnElement[bool] = text(f"i.collection_id {NOT_DELETED}")  # type: ignore[assignment]
    if collection is not None:
        named = select(Collection.id).where(Collection.name == collection, PRESENT)
        within = I.collection_id == named.scalar_subquery()
    return [within, filter_clause(asked)]


def find_passing(
    session: Session, asked: Filter, *, collection: str | None, before: UUID | None, limit: int
) -> list[UUID]:
    """The newest `limit` images that pass, older than `before`.

    Few that an index finds are sorted. Otherwise the images are gone through from the newest on until so many have
    passed: of many that pass there will be some among the first.
    """
    within, passes = passing(session, asked, collection=collection)
    older = [] if before is None else [I.id < before]
    if is_indexed(asked):
        some = session.scalars(select(I.id).where(within, passes, *older).limit(FEW + 1)).all()
        if len(some) <= FEW:
            return sorted(some, reverse=True)[:limit]
    # In a CASE no index can find what passes, and nothing is known of how many do: then Postgres takes them in order.
    in_order = case((passes, True), else_=False)
    statement = select(I.id).where(within, *older, in_order).order_by(I.id.desc()).limit(limit)
    return list(session.scalars(statement))


def count_passing(session: Session, asked: Filter, *, collection: str | None) -> int:
    """How many images pass."""
    conditions = passing(session, asked, collection=collection)
    return session.scalars(select(func.count()).select_from(I).where(*conditions)).one()

"""The database as the role `umbel_reader` sees it."""

from uuid import UUID

from pgvector import HalfVector
from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.types import Vector

Row = tuple[UUID, float, str | None, str, dict[str, object]]


def ask(session: Session, call: str, **values: object) -> list[Row]:
    """What the reader gets of a function; what it raises spoils nothing."""
    with session.begin_nested():
        session.execute(text("SET LOCAL ROLE umbel_reader"))
        rows = session.execute(text(f"SELECT * FROM umbel.{call}"), values).all()
        session.execute(text("RESET ROLE"))
    return [tuple(row) for row in rows]


def nearest(session: Session, vector: Vector, k: int, collection: str | None = None) -> list[Row]:
    values = {"q": HalfVector(vector).to_text(), "k": k, "c": collection}
    return ask(session, "nearest(CAST(:q AS halfvec), :k, :c)", **values)

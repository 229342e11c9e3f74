"""Builds of an index that are killed, and what they leave behind."""

from sqlalchemy import text

from umbel.base.database import transaction


def unfinished_indexes() -> int:
    with transaction() as session:
        return session.execute(text("SELECT count(*) FROM pg_index WHERE NOT indisvalid")).scalar_one()


def terminated(statement: str) -> bool:
    """Whether there was a connection at work on such a statement, which is cut now."""
    with transaction() as session:
        return bool(
            session.scalars(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE :s AND state = 'active'"),
                {"s": statement},
            ).all()
        )

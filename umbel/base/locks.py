"""Work that is done by one process, or in one transaction, at a time."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from umbel.base.database import autocommit


@contextmanager
def only_one(work: str) -> Iterator[bool]:
    """Whether no other process is at `work`; if so, none will be while this lasts.

    Held by a connection of its own, outside of any transaction: should it break, another may begin, so the work must
    bear being done twice. On leaving, the next may begin at once. Raises NotReady.
    """
    with autocommit() as session:
        ours = bool(session.scalar(text("SELECT pg_try_advisory_lock(hashtext(:work))"), {"work": work}))
        try:
            yield ours
        finally:
            if ours:
                with suppress(DBAPIError):  # of a connection that broke, Postgres frees the locks by itself
                    session.execute(text("SELECT pg_advisory_unlock(hashtext(:work))"), {"work": work})
            session.invalidate()


def take_turns(session: Session, work: str, *, shared: bool = False) -> None:
    """Wait until no other transaction is at `work`; others wait for this one to end. shared: but not for each other."""
    lock = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    session.execute(text(f"SELECT {lock}(hashtext(:work))"), {"work": work})

"""Work that is done by one process, or in one transaction, at a time."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

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


@contextmanager
def one_on_this_machine(work: str) -> Iterator[None]:
    """Wait until no other thread or process of this user on this machine is at `work`, and keep the others waiting.

    By locks of files, which the system frees when a process dies. For saving work only: where there can be no such
    file, nothing is kept from anything. work: one of a few names.
    """
    with ExitStack() as opened:
        with suppress(OSError):
            folder = Path(tempfile.gettempdir(), f"umbel-locks-{os.getuid()}")
            folder.mkdir(mode=0o700, exist_ok=True)
            fcntl.flock(opened.enter_context((folder / work).open("ab")), fcntl.LOCK_EX)
        yield


def take_turns(session: Session, work: str, *, shared: bool = False) -> None:
    """Wait until no other transaction is at `work`; others wait for this one to end. shared: but not for each other."""
    lock = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    session.execute(text(f"SELECT {lock}(hashtext(:work))"), {"work": work})

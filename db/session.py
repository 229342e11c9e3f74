"""Engines and transactions. The edge (route, task, command) opens one transaction around a use case."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from core.errors import NotReady
from core.settings import settings

Transaction = Callable[[], AbstractContextManager[Session]]


@cache
def engine_of(url: str, pool_size: int = 8) -> Engine:
    """The process's engine for `url`. Connections are tested before use, so a restarted database is survived."""
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "application_name": "umbel"},
    )


def engine() -> Engine:
    """The engine of this process's settings."""
    return engine_of(settings().database)


@contextmanager
def transaction() -> Iterator[Session]:
    """A session whose work is committed on leaving, or rolled back when something is raised.

    Raises NotReady when the database cannot be reached or goes away midway: nothing was written then.
    """
    with Session(engine(), expire_on_commit=False) as session:
        try:
            with session.begin():
                yield session
        except PoolTimeout as error:
            raise NotReady("All database connections are busy.") from error
        except OperationalError as error:
            raise NotReady(f"The database cannot be reached: {_first_line(error)}.") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise NotReady(f"The database went away: {_first_line(error)}.") from error
            raise


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().split("\n")[0].rstrip(".")

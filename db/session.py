"""Engines and transactions. The edge (route, task, command) opens one transaction around a use case."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from functools import cache

import psycopg
from psycopg.types.string import StrDumper
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from core.errors import NotReady, StorageFull, TransientError
from core.settings import settings

# Our enums are text in the tables; psycopg would otherwise write a member's name instead of its value.
psycopg.adapters.register_dumper(StrEnum, StrDumper)

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

    Raises NotReady when the database cannot be reached or goes away midway, TransientError when transactions got in
    each other's way, StorageFull: nothing was written then.
    """
    with translated_errors(), Session(engine(), expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def autocommit() -> Iterator[Connection]:
    """A connection outside of any transaction: for what Postgres does only there. Raises as `transaction` does."""
    with translated_errors(), engine().connect() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def translated_errors() -> Iterator[None]:
    """The driver's errors in our own words, see `transaction`."""
    try:
        yield
    except PoolTimeout as error:
        raise NotReady("All database connections are busy.") from error
    except DBAPIError as error:
        raise _translated(error) from error


def _translated(error: DBAPIError) -> Exception:
    state = getattr(error.orig, "sqlstate", None) or ""
    reason = str(error.orig).strip().split("\n")[0].rstrip(".")
    # Deadlock, serialization failure; a lock not to be had; a row that was removed while another came to refer to it.
    if state.startswith("40") or state in ("55P03", "23503"):
        return TransientError(f"Transactions got in each other's way: {reason}.")
    if state == "53100":
        return StorageFull("The database's disk is full.")
    if isinstance(error, OperationalError) or error.connection_invalidated:
        return NotReady(f"The database cannot be reached: {reason}.")
    return error

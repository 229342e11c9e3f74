"""The two ways to run statements: in a session, or one alone, prepared and in one round trip.

The edge (route, task, command) opens one transaction around a use case. `autocommit` is the session for what Postgres
does outside of any; `run_prepared` is for what has to cost as little as it can.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum
from functools import cache
from typing import Any

import psycopg
from pgvector import HalfVector
from pgvector.psycopg.halfvec import HalfVectorBinaryDumper
from psycopg.types.string import StrDumper
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from umbel.base.errors import NotReady, StorageFull, TimedOut, TransientError
from umbel.base.settings import settings
from umbel.base.storable import parse_stored

# Our enums are text in the tables; psycopg would otherwise write a member's name instead of its value.
psycopg.adapters.register_dumper(StrEnum, StrDumper)
# Half the bytes of the text, and nothing to print or to parse. The type is known from where it is used.
psycopg.adapters.register_dumper(HalfVector, HalfVectorBinaryDumper)

RESTED_SECONDS = 0.5
# A server that vanished, or a firewall that forgot the connection, is noticed within half a minute: while waiting by
# keepalives, while sending by `tcp_user_timeout` (milliseconds).
CONNECTION = {
    "connect_timeout": 5,
    "application_name": "umbel",
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
TIMED_OUT = (
    "The database was stopped at this after the longest time that it may take. Ask for less, such as a smaller page or "
    "another filter, or try again when there is less to do."
)

Transaction = Callable[[], AbstractContextManager[Session]]

# What Postgres ends by itself in the connections that this process opens; nothing, until `limit_connections` says so.
_limits: dict[str, str] = {}
LIMIT = "SELECT set_config(%s, %s, %s)"


def limit_connections(*, statement_seconds: float, idle_seconds: float) -> None:
    """Have Postgres end each statement of this process that takes longer, and each transaction that rests longer.

    0: no limit. For connections opened from now on; commands, migrations and backups have no limits.
    """
    seconds = {"statement_timeout": statement_seconds, "idle_in_transaction_session_timeout": idle_seconds}
    _limits.update({name: f"{round(1000 * limit)}ms" for name, limit in seconds.items()})


@cache
def engine_of(url: str, pool_size: int = 8, *, pooled: bool = False) -> Engine:
    """The process's engine for `url`. Connections that rested are tested before use, so that a restarted database is
    survived; under load that test would cost each transaction a round trip.

    pooled: a pooler lends a connection to each transaction, so that nothing may be left in one: no prepared statements,
    and the limits with each transaction.
    """
    made = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        json_deserializer=parse_stored,
        pool_use_lifo=True,  # the one used last: it has not rested, and knows the statements that it prepared
        connect_args={**CONNECTION, "prepare_threshold": None} if pooled else CONNECTION,
    )
    if pooled:
        event.listen(made, "begin", _limit_transaction)
    else:
        event.listen(made, "connect", _limit_connection)
    event.listen(made, "checkin", _note_rest)
    event.listen(made, "checkout", _test_rested)
    return made


def _limit_connection(connection: Any, _: object) -> None:
    for name, limit in _limits.items():
        connection.execute(LIMIT, [name, limit, False])
    connection.commit()


def _limit_transaction(connection: Connection) -> None:
    for name, limit in _limits.items():
        connection.exec_driver_sql(LIMIT, (name, limit, True))


def _note_rest(_: object, record: Any) -> None:
    record.info["rests_since"] = time.monotonic()


def _test_rested(connection: Any, record: Any, _: object) -> None:
    """Raises InvalidatePoolError, for which the pool makes new connections, in place of all that it holds."""
    since = record.info.get("rests_since")
    if since is None or time.monotonic() - since < RESTED_SECONDS:
        return
    try:
        connection.execute("")  # any server at the other end answers this
        connection.rollback()
    except psycopg.Error as error:
        raise InvalidatePoolError from error


def engine() -> Engine:
    """The engine of this process's settings."""
    return engine_of(settings().database, pooled=is_pooled())


def direct_engine() -> Engine:
    """That of what needs a connection of its own; the same where there is no pooler."""
    return engine_of(settings().direct_database) if is_pooled() else engine()


def is_pooled() -> bool:
    """Whether a pooler lends connections to transactions."""
    return settings().database_direct_url is not None


@contextmanager
def transaction(on: Engine | None = None) -> Iterator[Session]:
    """A session whose work is committed on leaving, or rolled back when something is raised.

    on: unset, `engine()`. Raises NotReady when the database cannot be reached or goes away midway, TimedOut when a
    statement takes longer than `limit_connections` allows, TransientError when transactions got in each other's way,
    StorageFull: nothing was written then.
    """
    with translated_errors(), Session(on or engine(), expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def autocommit() -> Iterator[Session]:
    """A session each of whose statements is a transaction by itself, and costs one round trip.

    It has a connection of its own, past any pooler, so that what is set in it stays. For what Postgres does only so,
    such as CREATE INDEX CONCURRENTLY, and for what must not hold a snapshot for long. Raises as `transaction` does.
    """
    with translated_errors(), Session(_autocommit_engine_of(direct_engine()), expire_on_commit=False) as session:
        yield session


@cache
def _autocommit_engine_of(one: Engine) -> Engine:
    """Another face of `one`, on the same connections."""
    return one.execution_options(isolation_level="AUTOCOMMIT")


def run_prepared(
    statement: str, *values: Sequence[Any] | Mapping[str, Any], on: Engine | None = None
) -> list[tuple[Any, ...]]:
    """The rows of a statement, run in one round trip by the driver alone; of several `values`, nothing but all or none.

    statement: in psycopg's words; Postgres plans it once a connection. It is committed when this returns. on: unset,
    `engine()`.
    For the searches and the images to search by, whose callers wait for every fraction of a millisecond: a session
    takes three times as long. Raises as `transaction` does.
    """
    with translated_errors():
        held = (on or engine()).raw_connection()
        connection: psycopg.Connection[Any] = held.driver_connection  # type: ignore[assignment]
        try:
            connection.autocommit = True  # no BEGIN and COMMIT around it
            with (
                _limited_pipeline(connection) if is_pooled() else nullcontext() as pipeline,
                connection.cursor(binary=True) as cursor,
            ):
                if len(values) == 1:
                    cursor.execute(statement, values[0], prepare=pipeline is None)
                else:
                    cursor.executemany(statement, values)  # a pipeline, which is one transaction
                if pipeline:
                    pipeline.sync()
                return cursor.fetchall() if cursor.description else []
        finally:
            if connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                connection.autocommit = False
            else:
                held.invalidate()
            held.close()


@contextmanager
def _limited_pipeline(connection: "psycopg.Connection[Any]") -> Iterator[psycopg.Pipeline]:
    """What is run in it goes to the server at once, after the limits, in one transaction."""
    with connection.pipeline() as pipeline:
        for name, limit in _limits.items():
            connection.execute(LIMIT, [name, limit, True])
        yield pipeline


@contextmanager
def translated_errors() -> Iterator[None]:
    """The driver's errors in our own words, see `transaction`."""
    try:
        yield
    except PoolTimeout as error:
        raise NotReady("All database connections are busy.") from error
    except DBAPIError as error:
        raise _translated(error, error.orig) from error
    except psycopg.Error as error:
        raise _translated(error, error) from error


def _translated(error: DBAPIError | psycopg.Error, cause: BaseException | None) -> Exception:
    state = getattr(cause, "sqlstate", None) or ""
    reason = str(cause).strip().split("\n")[0].rstrip(".")
    # Deadlock, serialization failure; a lock not to be had; a row that was removed while another came to refer to it.
    if state.startswith("40") or state in ("55P03", "23503"):
        return TransientError(f"Transactions got in each other's way: {reason}.")
    if state == "53100":
        return StorageFull("The database's disk is full.")
    if isinstance(cause, psycopg.errors.QueryCanceled):
        return TimedOut(TIMED_OUT)
    if isinstance(cause, psycopg.OperationalError) or getattr(error, "connection_invalidated", False):
        return NotReady(f"The database cannot be reached: {reason}.")
    return error

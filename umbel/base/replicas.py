"""Reads that a replica of the database may answer: searches, lists, counts and exports.

The primary and its replicas are asked twice a second how far each has come. A replica is used while it has all that
was committed up to `replica_lag_seconds` ago, and what the caller has to see. Otherwise, and when anything goes wrong
on the replica, the primary answers.
"""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import cache, partial
from itertools import count
from typing import Any, TypeVar
from weakref import WeakSet

import psycopg
import structlog
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from umbel.base.database import CONNECTION, direct_engine, engine_of, is_pooled, run_prepared, transaction
from umbel.base.errors import InvalidInput, TimedOut
from umbel.base.metrics import DATABASE_READS, REPLICA_LAG
from umbel.base.settings import settings

log = structlog.get_logger()

T = TypeVar("T")
Rows = list[tuple[Any, ...]]

LOOK_SECONDS = 0.5
KEPT = 240  # positions of the primary, of two minutes
# Where the last record ends. The function says where the next one begins, which is after the page's header where the
# last one filled its page or its segment: no replica comes there before the next record does.
PRIMARY = """
SELECT next - CASE WHEN mod(next, pg_size_bytes(current_setting('wal_segment_size'))) = 40 THEN 40
                   WHEN mod(next, current_setting('wal_block_size')::int) = 24 THEN 24
                   ELSE 0 END
FROM (SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS next) AS log
"""
REPLICA = "SELECT pg_last_wal_replay_lsn() - '0/0'::pg_lsn WHERE pg_is_in_recovery()"

# What the reads of this request have to see: bytes of the primary's write-ahead log.
must_see: ContextVar[int] = ContextVar("must_see", default=0)


class Replica:
    """A copy of the database, and how near it is. Any thread may use it."""

    def __init__(self, url: str) -> None:
        self.engine = engine_of(url, pooled=is_pooled())
        where = self.engine.dialect.create_connect_args(self.engine.url)[1]
        self.name = f"{where.get('host', 'localhost')}:{where.get('port', 5432)}"
        self.position = 0
        self.current_at = 0.0  # when the primary was where this is now, at the earliest
        self._held: WeakSet[psycopg.Connection[Any]] = WeakSet()  # in use, or being tested for it
        self._lock = threading.Lock()
        event.listen(self.engine, "checkout", self._hold, insert=True)  # before it is tested, which may hang
        event.listen(self.engine, "checkin", self._let_go)

    def lag(self) -> float:
        """Seconds of changes that it may lack."""
        return time.monotonic() - self.current_at

    def fail(self) -> None:
        """Leave it until it is next seen to answer, and end what waits for it: the primary does that then."""
        self.current_at = 0.0
        with self._lock:
            held = list(self._held)
        for connection in held:
            with suppress(OSError, psycopg.Error), socket.socket(fileno=socket.dup(connection.fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)
        self.engine.dispose()

    def _hold(self, connection: "psycopg.Connection[Any]", *_: object) -> None:
        with self._lock:
            self._held.add(connection)

    def _let_go(self, connection: "psycopg.Connection[Any] | None", *_: object) -> None:
        with self._lock:
            self._held.discard(connection)  # type: ignore[arg-type]


class Replicas:
    """All replicas of the settings, watched by threads of this process."""

    def __init__(self, urls: Sequence[str], most_lag: float) -> None:
        self.all = [Replica(url) for url in urls]
        self._most_lag = most_lag
        self._positions: deque[tuple[float, int]] = deque(maxlen=KEPT)  # of the primary: when it was seen there
        self._turn = count()
        self._stopped = threading.Event()
        looks = [(one.name, partial(self._look_at, one)) for one in self.all]
        for name, look in [("primary", self._look_at_primary), *looks]:
            threading.Thread(target=self._keep_looking, args=[name, look], name=f"watch {name}", daemon=True).start()
        threading.Thread(target=self._leave_late, name="late replicas", daemon=True).start()

    def stop(self) -> None:
        """End the threads, soon."""
        self._stopped.set()

    def choose(self, after: int) -> Replica | None:
        """One that is near enough and has come to `after`, in turn; None: the primary has to answer."""
        near = [one for one in self.all if one.lag() <= self._most_lag and one.position >= after]
        return near[next(self._turn) % len(near)] if near else None

    def _look_at_primary(self) -> None:
        with _watched(direct_engine()) as connection:
            while not self._stopped.is_set():
                began = time.monotonic()
                self._positions.append((began, _position(connection, PRIMARY)))
                self._stopped.wait(LOOK_SECONDS)

    def _look_at(self, replica: Replica) -> None:
        with _watched(replica.engine) as connection:
            while not self._stopped.is_set():
                replica.position = _position(connection, REPLICA)
                reached = [at for at, primary in list(self._positions) if primary <= replica.position]
                replica.current_at = max(reached, default=0.0)
                self._stopped.wait(LOOK_SECONDS)

    def _keep_looking(self, name: str, look: Callable[[], None]) -> None:
        known = ""
        while not self._stopped.is_set():
            try:
                look()
            except Exception as error:
                reason = str(error).split("\n")[0]
                if reason != known:
                    log.warning("the position of a database is not known", database=name, error=reason)
                known = reason
                self._stopped.wait(LOOK_SECONDS)

    def _leave_late(self) -> None:
        """A replica that stands still answers nothing that waits for it, and closes no connection."""
        late = set(self.all)  # until they have been seen
        while not self._stopped.wait(LOOK_SECONDS):
            for one in self.all:
                REPLICA_LAG.labels(one.name).set(one.lag())
            now_late = {one for one in self.all if one.lag() > self._most_lag}
            for one in now_late - late:
                log.warning("a replica is not read from", replica=one.name)
                one.fail()
            for one in late - now_late:
                log.info("a replica is read from", replica=one.name)
            late = now_late


@cache
def replicas() -> Replicas:
    """Those of this process's settings."""
    return Replicas(settings().database_read_url, settings().replica_lag_seconds)


def read(work: Callable[[Session], T]) -> T:
    """The result of `work`, which only reads, in a transaction on a replica or on the primary.

    It may be called twice: what goes wrong on a replica, even that something is not there yet, is done on the primary.
    Raises as `umbel.base.database.transaction` does, and what `work` raises.
    """

    def on(engine: Engine | None) -> T:
        with transaction(engine) as session:
            return work(session)

    return _read(on)[0]


def read_prepared(
    statement: str, values: Mapping[str, Any], *, complete: Callable[[Rows], bool] = lambda _: True
) -> tuple[Rows, float | None]:
    """As `run_prepared`, for a statement that only reads: its rows, and the lag of the replica in seconds.

    The lag is None where the primary answered. complete: whether a replica's rows are all; else the primary is asked.
    """
    return _read(lambda engine: run_prepared(statement, values, on=engine), complete)


def _read(on: Callable[[Engine | None], T], complete: Callable[[T], bool] = lambda _: True) -> tuple[T, float | None]:
    if not settings().database_read_url:
        return on(None), None
    replica = replicas().choose(must_see.get())
    if replica is None:
        DATABASE_READS.labels("primary").inc()
        return on(None), None
    lag = replica.lag()
    try:
        result = on(replica.engine)
    except TimedOut:
        raise
    except Exception as error:
        log.info("read again from the primary", replica=replica.name, error=str(error).split("\n")[0])
    else:
        if complete(result):
            DATABASE_READS.labels("replica").inc()
            return result, lag
    DATABASE_READS.labels("again").inc()
    return on(None), None


def position() -> int | None:
    """Where the primary's log ends now, so that whatever was committed lies before it; None without replicas."""
    if not settings().database_read_url:
        return None
    return int(run_prepared(PRIMARY, {})[0][0])


def parse_position(text: str) -> int:
    """Raises InvalidInput."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InvalidInput("Umbel-Position is a number that an earlier answer had.")
    return int(text)


def _watched(engine: Engine) -> "psycopg.Connection[Any]":
    """A connection beside the pool, which others may have used up. Raises psycopg.Error."""
    arguments, keywords = engine.dialect.create_connect_args(engine.url)
    parameters = {**CONNECTION, **keywords, "prepare_threshold": None}
    return psycopg.connect(*arguments, **parameters, autocommit=True)


def _position(connection: "psycopg.Connection[Any]", statement: str) -> int:
    """Raises psycopg.Error; LookupError where a replica has become a primary."""
    row = connection.execute(statement).fetchone()
    if row is None or row[0] is None:
        raise LookupError("it is no replica")
    return int(row[0])

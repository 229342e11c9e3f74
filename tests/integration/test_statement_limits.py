"""No statement is without an end: Postgres stops it, the caller is told, and the connection serves the next."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.integration.factory import DIM, Factory, committed, unit
from umbel.base import database
from umbel.base.database import autocommit, engine, limit_connections, run_prepared, transaction
from umbel.base.errors import NotReady, TimedOut
from umbel.base.settings import settings
from umbel.models import partitions

pytestmark = pytest.mark.usefixtures("database", "redis")

SECONDS = 0.3


@pytest.fixture(autouse=True)
def before(api: FlaskClient) -> Iterator[None]:
    """New connections for each test, and for those after it."""
    known = dict(database._limits)
    engine().dispose()
    yield
    database._limits.clear()
    database._limits.update(known)
    engine().dispose()


@pytest.fixture
def short() -> None:
    limit_connections(statement_seconds=SECONDS, idle_seconds=0)


@contextmanager
def locked(table: str) -> Iterator[None]:
    """Nothing else reads the table."""
    with outside() as other, other.transaction():
        other.execute(f"LOCK TABLE {table}".encode())
        yield


@contextmanager
def outside() -> Iterator[psycopg.Connection]:
    """A connection without limits, outside of any transaction, so that it sees what others do now."""
    with psycopg.connect(settings().direct_database.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def wait_until(true: Callable[[], bool]) -> None:
    while not true():
        threading.Event().wait(0.02)


def backend() -> int:
    with transaction() as session:
        return int(session.execute(text("SELECT pg_backend_pid()")).scalar_one())


def test_the_api_has_the_limits_of_the_settings() -> None:
    with transaction() as session:
        shown = [
            session.scalar(text(f"SHOW {name}"))
            for name in ("statement_timeout", "idle_in_transaction_session_timeout")
        ]
    assert shown == ["20s", "5min"]


@pytest.mark.usefixtures("short")
def test_a_request_that_takes_too_long_is_told_so_and_keeps_its_connection(api: FlaskClient) -> None:
    committed(lambda make: make.image(vector=unit(1), version=make.version()))
    ours = backend()
    with locked("image"):
        listing = api.get("/v1/images")
        search = api.post("/v1/search", json={"vector": unit(2).tolist()})  # the other way to run a statement
    for answer in (listing, search):
        assert (answer.status_code, answer.get_json()["code"]) == (503, "timed_out"), answer.text
        assert "Retry-After" in answer.headers
    assert api.get("/v1/images").status_code == 200
    assert (backend(), engine().pool.checkedout()) == (ours, 0)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("short")
def test_what_is_stopped_changes_nothing() -> None:
    def work() -> None:
        with transaction() as session:
            Factory(session).collection("begun")
            session.execute(text("SELECT pg_sleep(60)"))

    with pytest.raises(TimedOut):
        work()
    assert run_prepared("SELECT name FROM collection", []) == []


def test_a_transaction_that_rests_too_long_is_ended() -> None:
    limit_connections(statement_seconds=0, idle_seconds=SECONDS)

    def rest() -> None:
        with transaction() as session, outside() as other:
            ours = session.scalar(text("SELECT pg_backend_pid()"))
            statement = "SELECT FROM pg_stat_activity WHERE pid = %s"
            wait_until(lambda: not other.execute(statement, [ours]).rowcount)
            session.execute(text("SELECT 1"))

    with pytest.raises(NotReady):
        rest()
    assert run_prepared("SELECT 1", []) == [(1,)]
    assert engine().pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.usefixtures("short")
def test_an_index_is_built_however_long_it_takes() -> None:
    version = committed(lambda make: make.version())
    with transaction() as session:
        partitions.drop_index(session, version.id)
    built: list[bool] = []

    def build() -> None:
        with autocommit() as session:
            built.append(partitions.build_index(session, version.id, DIM, memory_mb=16, processes=0))

    age = """
        SELECT FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%%' AND state = 'active'
        AND clock_timestamp() - query_start > make_interval(secs => %s)
    """
    thread = threading.Thread(target=build)
    with outside() as other:
        with outside() as in_the_way, in_the_way.transaction():  # the build waits for its end
            in_the_way.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            in_the_way.execute(f"SELECT FROM {partitions.partition_name(version.id)}".encode())
            thread.start()
            wait_until(lambda: bool(other.execute(age, [2 * SECONDS]).rowcount) or not thread.is_alive())
        thread.join()
    assert built == [True]

"""Connections to Postgres by TCP find out within half a minute that there is nothing at their other end."""

import socket
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from stack.postgres import Postgres
from tests.faults.proxy import Proxy
from umbel.base import database, notify
from umbel.base.database import engine_of
from umbel.base.notify import Listener


@pytest.fixture
def url(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of the database, by TCP; what asks for the process's engine gets one of this URL."""
    target = make_url(postgres.url())
    server = Path(str(target.query["host"]), f".s.PGSQL.{target.query.get('port', 5432)}")
    with Proxy(server) as proxy:
        by_tcp = target.set(host="127.0.0.1", port=proxy.port, query={})
        text = by_tcp.render_as_string(hide_password=False)
        monkeypatch.setattr(notify, "direct_engine", lambda: engine_of(text))
        yield text
        engine_of(text).dispose()


def silent_seconds(connection: "psycopg.Connection[Any]") -> float:
    """Seconds without a word from the other end after which the system gives the connection up."""
    with socket.socket(fileno=connection.fileno()) as wire:
        try:
            assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
            idle, every, times = (
                wire.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            return idle + every * times
        finally:
            wire.detach()


def test_the_pool_s_connections(url: str) -> None:
    pooled = engine_of(url).raw_connection()
    assert silent_seconds(pooled.driver_connection) <= 30  # type: ignore[arg-type]
    pooled.close()


def test_the_listener_s_connection(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: SimpleQueue[psycopg.Connection[Any]] = SimpleQueue()
    connect = psycopg.connect

    def noted(*arguments: Any, **options: Any) -> Any:
        connection = connect(*arguments, **options)
        made.put(connection)
        return connection

    monkeypatch.setattr(psycopg, "connect", noted)
    with Listener().expecting("anything"):
        connection = made.get(timeout=30)
        assert silent_seconds(connection) <= 30
        assert connection.info.get_parameters()["application_name"] == database.CONNECTION["application_name"]

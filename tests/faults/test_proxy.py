"""The proxy passes bytes, cuts wires and refuses new ones."""

import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.proxy import Proxy
from tests.processes import eventually


@pytest.fixture
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server on a Unix socket that says back what it is told."""
    path = tmp_path_factory.mktemp("echo") / "s"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def answer(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1000):
                connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=[connection], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield path
    server.shutdown(socket.SHUT_RDWR)
    server.close()


@pytest.fixture
def proxy(echo: Path) -> Iterator[Proxy]:
    with Proxy(echo) as made:
        yield made


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def said(connection: socket.socket, words: bytes) -> bytes:
    """What comes back; nothing from a connection that is broken."""
    try:
        connection.sendall(words)
        return connection.recv(1000)
    except ConnectionError:
        return b""


def test_what_is_said_arrives_and_comes_back(proxy: Proxy) -> None:
    with connect(proxy) as one, connect(proxy) as two:
        assert said(one, b"one") == b"one"
        assert said(two, b"two") == b"two"
        assert proxy.open == 2


def test_a_cut_breaks_what_is_open_and_nothing_else(proxy: Proxy) -> None:
    with connect(proxy) as one:
        assert said(one, b"one") == b"one"
        assert proxy.cut(random.Random(1)) == 1
        assert said(one, b"more") == b""
    with connect(proxy) as two:
        assert said(two, b"two") == b"two"


def test_a_share_of_the_connections_can_be_cut(proxy: Proxy) -> None:
    connections = [connect(proxy) for _ in range(4)]
    assert all(said(each, b"x") == b"x" for each in connections)
    assert proxy.cut(random.Random(1), share=0.5) == 2
    assert sorted(said(each, b"y") for each in connections) == [b"", b"", b"y", b"y"]
    for each in connections:
        each.close()


def test_while_it_refuses_no_connection_lives(proxy: Proxy) -> None:
    proxy.refuse()
    with connect(proxy) as rejected:
        assert said(rejected, b"x") == b""
    proxy.refuse(False)
    with connect(proxy) as welcome:
        assert said(welcome, b"x") == b"x"


def test_a_client_that_leaves_is_forgotten(proxy: Proxy) -> None:
    with connect(proxy) as one:
        assert said(one, b"x") == b"x"
    eventually(lambda: proxy.open == 0)


def test_a_server_that_is_away_breaks_the_connection(echo: Path) -> None:
    with Proxy(echo.with_name("nobody")) as proxy, connect(proxy) as lonely:
        assert said(lonely, b"x") == b""


def test_a_silent_wire_says_it_later(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        proxy.slow(None)
        connection.sendall(b"hello")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1000)
        proxy.slow(0)
        connection.settimeout(10)
        assert connection.recv(1000) == b"hello"


def test_another_listens_where_one_did(echo: Path) -> None:
    with Proxy(echo) as proxy:
        port = proxy.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
    with Proxy(echo, port=port) as other, connect(other) as connection:
        assert said(connection, b"hello") == b"hello"

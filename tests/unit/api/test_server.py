"""The server where the system has no room for one more connection."""

import errno
import socket
from collections.abc import Iterator

import pytest
from waitress import wasyncore

from api import create_app
from api.server import Server
from umbel.base.settings import settings


@pytest.fixture
def server() -> Iterator[Server]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(create_app(), listener, settings(), orphaned=lambda: False)
    yield server
    wasyncore.close_all(server._map, ignore_all=True)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_it_accepts_again_after_a_while_instead_of_trying_all_the_time(
    server: Server, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    now = [1_000.0]
    monkeypatch.setattr("api.server.time.time", lambda: now[0])
    with monkeypatch.context() as patched:
        patched.setattr(wasyncore.dispatcher, "accept", lambda _: (_ for _ in ()).throw(OSError(number, "full")))
        assert server.readable()
        server.handle_accept()
    assert not server.readable()
    now[0] += 2
    assert server.readable()
    with socket.create_connection(server.socket.getsockname()):
        server.handle_accept()
        assert len(server.active_channels) == 1

"""Sockets outside of a long home: found by every command, and made again where a cleaner took them."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.postgres import Postgres
from stack.redis import Redis
from stack.services import Service
from umbel.base.settings import LONGEST_SOCKET_DIR, Settings


@pytest.fixture
def long_home(home: Path) -> Iterator[Path]:
    long = home / ("deep" * 25)
    yield long
    shutil.rmtree(Settings(home=long).socket_dir, ignore_errors=True)


def until(service: Service, state: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while service.state != state:
        assert time.monotonic() < deadline, service.child.output()
        service.tick()
        time.sleep(0.02)


def test_each_command_finds_the_sockets_of_a_long_home_whatever_its_tmpdir(
    long_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {Settings(home=long_home).socket_dir}
    for folder in (tmp_path / "job", tmp_path / ("y" * 100)):
        folder.mkdir()
        monkeypatch.setenv("TMPDIR", str(folder))
        monkeypatch.setattr("tempfile.tempdir", None)
        found.add(Settings(home=long_home).socket_dir)
    assert len(found) == 1
    assert len(str(found.pop())) <= LONGEST_SOCKET_DIR


@pytest.mark.parametrize("kind", [Postgres, Redis])
def test_a_server_whose_socket_is_removed_is_started_again(
    kind: type[Postgres | Redis], long_home: Path, tmp_path: Path
) -> None:
    server = kind(long_home, Settings(home=long_home).socket_dir, durable=False)
    said: list[str] = []
    service = Service(server.program(), tmp_path, said.append)
    try:
        until(service, "ready")
        shutil.rmtree(server.socket_dir)
        until(service, "restarting")
        until(service, "ready")
        assert server.is_ready()
    finally:
        service.child.stop()
    assert any("its socket was removed" in line for line in said)

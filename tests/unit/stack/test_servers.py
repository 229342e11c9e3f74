"""Finding the servers' programs and fitting them to the machine."""

import importlib.util
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from stack.binaries import postgres_programs, redis_server
from stack.postgres import Postgres
from umbel.base.errors import StackError


def test_no_postgres_is_answered_with_what_to_do(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StackError, match="UMBEL_DATABASE_URL"):
        postgres_programs()


def test_no_redis_is_answered_with_what_to_do(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(StackError, match="UMBEL_REDIS_URL"):
        redis_server()


def test_redis_of_the_path_serves_where_the_wheel_is_not_installed(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert redis_server() == Path("/usr/bin/redis-server")


@pytest.mark.parametrize(("free", "kind"), [(64 * 2**20, "mmap"), (8 * 2**30, "posix")])
def test_a_container_s_small_shared_memory_is_not_relied_on(monkeypatch, tmp_path: Path, free: int, kind: str) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=free, f_frsize=1))
    assert f"dynamic_shared_memory_type={kind}" in Postgres(tmp_path, tmp_path).command()


def test_only_tests_trade_durability_for_speed(tmp_path: Path) -> None:
    assert "fsync=off" not in Postgres(tmp_path, tmp_path).command()
    assert "fsync=off" in Postgres(tmp_path, tmp_path, durable=False).command()

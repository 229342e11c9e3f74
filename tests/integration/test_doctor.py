"""`umbel doctor` with real faults: each is told, with what to do, and the other checks go on."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client

from cli.doctor.contradictions import check_settings
from stack.postgres import Postgres
from stack.redis import Redis
from tests.command_line import umbel_here
from tests.integration.test_server import Api
from tests.processes import free_port
from umbel.base import schema
from umbel.base.settings import Settings, settings

pytestmark = pytest.mark.direct  # most are about a home of their own

CHECKS = {
    "settings", "service", "database", "database disk", "pgvector", "connections", "clock", "schema", "redis",
    "redis memory", "redis persistence", "blobs", "spool", "temporary files", "shared memory", "decoders", "model",
    "runtime", "open files", "memory", "replicas", "syncs",
}  # fmt: skip


def test_the_page_names_every_check() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "doctor.md").read_text()
    assert {check for check in CHECKS if f"`{check}`" not in page} == set()


@pytest.fixture(autouse=True)
def _without_loading_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.checkpoint.load_checkpoint", lambda path: None)  # seconds; it has tests of its own


def examined(**environment: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and each finding that is not all right, by its check."""
    seen = umbel_here("doctor", "--json", **environment)
    assert seen.stderr == ""
    told = json.loads(seen.stdout)
    assert {one["check"] for one in told["findings"]} - {"stack"} <= CHECKS
    assert all(one["remedy"] for one in told["findings"] if one["level"] != "ok")
    assert told["ok"] == (seen.returncode == 0)
    return seen.returncode, {one["check"]: one for one in told["findings"] if one["level"] != "ok"}


def test_a_service_that_is_well_has_no_error(postgres: Postgres, redis: Redis, server: Api) -> None:
    _, found = examined(UMBEL_URL=server.url)
    errors = {check: one for check, one in found.items() if one["level"] == "error"}
    assert errors.keys() <= {"service"}  # no worker runs in this test
    assert "worker" in errors["service"]["detail"] or "progress" in errors["service"]["detail"]


def test_a_stack_that_is_down_is_told_how_to_start_and_the_rest_is_checked(tmp_path: Path) -> None:
    status, found = examined(UMBEL_HOME=str(tmp_path), UMBEL_PORT="1")
    assert status == 1
    assert {"service", "database", "redis"} <= found.keys()
    assert all("umbel up" in found[check]["remedy"] for check in ("service", "database", "redis"))
    assert "blobs" not in found


@pytest.fixture
def locked(postgres: Postgres) -> Iterator[str]:
    """A role that must give a password: `right`."""
    rules = postgres.data / "pg_hba.conf"
    kept = rules.read_text()
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
        rules.write_text(f"local all locked scram-sha-256\n{kept}")
        connection.execute("SELECT pg_reload_conf()")
        yield "locked"
        rules.write_text(kept)
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("DROP ROLE locked")


def test_a_wrong_password_a_lost_redis_and_a_lost_service_are_told_apart(locked: str) -> None:
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))  # and does not listen
        there = f"127.0.0.1:{refusing.getsockname()[1]}"
        _, found = examined(
            UMBEL_DATABASE_URL=f"postgresql://{locked}:wrong@/umbel?host={settings().socket_dir}",
            UMBEL_REDIS_URL=f"redis://{there}",
            UMBEL_URL=f"http://{there}",
        )
    assert "password authentication failed" in found["database"]["detail"]
    assert "user and password" in found["database"]["remedy"]
    assert "UMBEL_REDIS_URL" in found["redis"]["remedy"]
    assert "UMBEL_URL" in found["service"]["remedy"]
    assert "wrong@" not in json.dumps(found)


def test_a_machine_of_a_worker_alone_is_warned_that_no_api_runs(postgres: Postgres, redis: Redis) -> None:
    _, found = examined(UMBEL_DATABASE_URL=postgres.url().replace("+psycopg", ""), UMBEL_PORT=str(free_port()))
    assert (found["service"]["level"], "UMBEL_URL" in found["service"]["remedy"]) == ("warning", True)


def test_replicas_that_are_gone_or_none_are_told(postgres: Postgres, redis: Redis, tmp_path: Path) -> None:
    primary = postgres.url().replace("+psycopg", "")
    for url, told in ((f"postgresql:///umbel?host={tmp_path}", "cannot be reached"), (primary, "no replica")):
        _, found = examined(UMBEL_DATABASE_READ_URL=url)
        assert (found["replicas"]["level"], told in found["replicas"]["detail"]) == ("warning", True)


def test_a_port_of_another_program_is_told(redis: Redis) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        _, found = examined(UMBEL_PORT=str(other.getsockname()[1]))
    assert "cannot listen" in found["service"]["detail"]
    assert "UMBEL_PORT" in found["service"]["remedy"]


def test_a_schema_that_is_behind_is_told(empty_database: str, redis: Redis) -> None:
    schema.upgrade(empty_database, "0002")
    _, found = examined(UMBEL_DATABASE_URL=empty_database)
    assert "umbel db upgrade" in found["schema"]["remedy"]


def test_a_blob_store_that_is_full_or_cannot_be_made_is_told(redis: Redis, tmp_path: Path) -> None:
    _, found = examined(UMBEL_MIN_FREE_BYTES=str(2**60))
    assert "UMBEL_MIN_FREE_BYTES" in found["blobs"]["remedy"]
    (tmp_path / "file").touch()
    _, found = examined(UMBEL_BLOB_URL=str(tmp_path / "file" / "blobs"), UMBEL_SPOOL=str(tmp_path / "file"))
    assert "UMBEL_BLOB_URL" in found["blobs"]["remedy"]
    assert "UMBEL_SPOOL" in found["spool"]["remedy"]


def test_a_redis_that_forgets_messages_is_told(redis: Redis) -> None:
    with Client.from_url(settings().redis) as connection:
        connection.config_set("maxmemory", 2**30)
        connection.config_set("maxmemory-policy", "allkeys-lru")
        try:
            _, found = examined()
        finally:
            connection.config_set("maxmemory-policy", "noeviction")
            connection.config_set("maxmemory", 0)
    assert "noeviction" in found["redis memory"]["remedy"]


@pytest.mark.parametrize(
    "contradicting",
    [
        {"UMBEL_HOST": "0.0.0.0"},
        {"UMBEL_PROXIES": "1"},
        {"UMBEL_CORS_ORIGINS": "https://example.org"},
        {"UMBEL_HANG_SECONDS": "10"},
        {"UMBEL_SWEEP_SECONDS": "90"},
        {"UMBEL_MAX_BYTES": "30GiB"},
        {"UMBEL_RUNTIME": "openvino", "UMBEL_DEVICE": "cuda"},
        {"UMBEL_METRICS_PORT": "8080"},
        {"UMBEL_IMPORT_ROOTS": "/nowhere"},
    ],
    ids=" ".join,
)
def test_settings_that_contradict_each_other_are_told(
    contradicting: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [one.level for one in check_settings(Settings())] == ["ok"]
    for name, value in contradicting.items():
        monkeypatch.setenv(name, value)
    [found] = check_settings(Settings())
    assert found.level != "ok"
    assert any(name in found.detail + (found.remedy or "") for name in contradicting)

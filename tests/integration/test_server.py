"""`umbel api` as a process: clients that are slow or send too much, and processes that die or are told to stop."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from stack.postgres import Postgres
from stack.redis import Redis
from tests.processes import UMBEL, Process, eventually, free_port
from umbel.access.keys import KeyScope, create_key, new_key
from umbel.base.database import transaction

HEAD = b"POST /v1/images HTTP/1.1\r\nHost: 127.0.0.1\r\n"


class Api(Process):
    """An API of two processes. patience: seconds."""

    def __init__(self, log: Path, *, patience: float = 1, inside: Sequence[str] = (), **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment |= {"UMBEL_PORT": str(self.port), "UMBEL_SLOW_SECONDS": str(patience), "UMBEL_API_PROCESSES": "2"}
        super().__init__("api", log=log, inside=inside, **environment)
        eventually(self.answers)

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port))
        client.settimeout(20)
        return client


@pytest.fixture(scope="module")
def api(postgres: Postgres, redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    process = Api(tmp_path_factory.mktemp("api") / "log")
    yield process
    process.stop()


def answer_to(client: socket.socket, dripping: bytes = b"") -> tuple[int, dict[str, Any]]:
    """Status and problem of what a client gets that goes on sending until then."""
    received = b""
    client.settimeout(0.1)
    for _ in range(100):
        try:
            part = client.recv(10_000)
        except TimeoutError:
            client.sendall(dripping)
            continue
        received += part
        if not part:
            break
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Content-Type: application/problem+json" in head, received
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        (HEAD, b"X"),
        (HEAD + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000\r\n\r\n--x\r\n", b"0"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n0\r\n"),
    ],
)
def test_a_slow_client_is_told_so(api: Api, begin: bytes, drip: bytes) -> None:
    with api.connect() as client:
        client.sendall(begin)
        status, problem = answer_to(client, drip)
    assert (status, problem["status"], problem["code"]) == (408, 408, "request_timeout")


def test_what_is_too_large_is_refused_before_it_has_come(api: Api) -> None:
    with api.connect() as client:
        client.sendall(HEAD + b"Content-Length: 100000000\r\n\r\n")
        status, problem = answer_to(client, bytes(100_000))
    assert (status, problem["code"]) == (413, "content_too_large")


@pytest.mark.parametrize("head", [b"no such thing", HEAD + b"Content-Length: " + b"9" * 5_000])
def test_nonsense_is_a_problem_too(api: Api, head: bytes) -> None:
    with api.connect() as client:
        client.sendall(head + b"\r\n\r\n")
        assert answer_to(client)[0] == 400


def test_a_process_that_dies_is_replaced(api: Api) -> None:
    keeper = psutil.Process(api.pid)
    before = {child.pid for child in eventually(lambda: len(keeper.children()) == 2 and keeper.children())}
    victim = before.pop()
    psutil.Process(victim).kill()
    after = eventually(lambda: {child.pid for child in keeper.children()} - {victim} - before)
    assert len(after) == 1
    assert api.answers()


def test_what_is_under_way_is_finished_before_it_stops(postgres: Postgres, redis: Redis, tmp_path: Path) -> None:
    api = Api(tmp_path / "log", patience=20)
    children = psutil.Process(api.pid).children()
    with api.connect() as client:
        body = b'{"sha256": []}'
        client.sendall(b"POST /v1/images:check HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\n")
        client.sendall(b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert client.recv(99) == b"HTTP/1.1 100 Continue\r\n\r\n"  # the server has that much
        psutil.Process(api.pid).send_signal(signal.SIGTERM)
        eventually(lambda: not api.answers())
        client.sendall(body)
        assert client.recv(15) == b"HTTP/1.1 200 OK"
    assert psutil.wait_procs(children, timeout=10)[1] == []
    api.stop()


@pytest.mark.slow
def test_nobody_stays_when_the_keeper_is_killed(postgres: Postgres, redis: Redis, tmp_path: Path) -> None:
    api = Api(tmp_path / "log")
    children = psutil.Process(api.pid).children()
    api.kill()
    assert psutil.wait_procs(children, timeout=10)[1] == []


AWAY = {
    "UMBEL_DATABASE_URL": "postgresql+psycopg://umbel:hunter2-database@127.0.0.1:1/umbel",
    "UMBEL_REDIS_URL": "redis://:hunter2-redis@127.0.0.1:1/0",
}


@pytest.mark.parametrize("servers", [{}, pytest.param(AWAY, marks=pytest.mark.slow)], ids=["there", "away"])
def test_no_secret_is_logged(postgres: Postgres, redis: Redis, tmp_path: Path, servers: dict[str, str]) -> None:
    with transaction() as session:
        known, _ = create_key(session, name="known", scope=KeyScope.READ, actor="test")
    unknown = new_key()
    more = {"UMBEL_LOG_LEVEL": "DEBUG", "UMBEL_REQUIRE_KEYS": "true", "UMBEL_RATE_LIMIT": "100/second"}
    api = Api(tmp_path / "log", patience=20, **more, **servers)
    with httpx.Client(base_url=f"http://127.0.0.1:{api.port}", trust_env=False) as client:
        for key in (known, unknown):
            client.get("/v1/images", headers={"Authorization": f"Bearer {key}"})
            client.post("/v1/session", json={"key": key})
            client.post("/v1/session", json={"kex": key})
            client.post("/signin", data={"key": key})
            client.get("/v1/images", params={"key": key})
        cookies = [cookie.value for cookie in client.cookies.jar]
        client.get("/readyz")
    told = subprocess.run([*UMBEL, "keys", "list"], env={**os.environ, **servers}, capture_output=True, check=False)
    api.stop()
    log = (tmp_path / "log").read_text() + told.stdout.decode() + told.stderr.decode()
    assert log.count("/v1/session") >= 4
    secrets = [known.rpartition("_")[2], unknown.rpartition("_")[2], *cookies, "hunter2"]
    assert [secret for secret in secrets if secret and secret in log] == []
    assert servers or len(cookies) == 1

"""The server under more than it can take: what waits, what connects and what reads slowly leave the others alone."""

import json
import os
import resource
import socket
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import text

from api import open_files
from stack.postgres import Postgres
from stack.redis import Redis
from tests.images import image_bytes
from tests.integration.test_server import Api
from tests.processes import UMBEL, eventually
from umbel.base.database import transaction

BODY = json.dumps({"image": b64encode(image_bytes(1)).decode()}).encode()
SEARCH = b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
HEALTH = ("/healthz", "/readyz", "/metrics")
SEARCHES = 64
PLACES = 2 * 6  # of two processes with 16 threads


@contextmanager
def running(tmp_path: Path, *inside: str, **environment: str) -> Iterator[Api]:
    api = Api(tmp_path / "log", inside=inside, **environment)
    try:
        yield api
        api.stop()
        assert "Traceback" not in api.log.read_text()
    finally:
        if api.running():
            api.kill()


def limited(files: int) -> tuple[str, ...]:
    """What runs a command that may open so many files."""
    return ("sh", "-c", f'ulimit -n {files}; exec "$@"', "sh")


def waiting_searches() -> int:
    with transaction() as session:
        return session.scalar(text("SELECT count(*) FROM query_image")) or 0


@pytest.mark.slow
def test_searches_that_wait_for_workers_leave_threads_for_others(
    postgres: Postgres, redis: Redis, database: None, tmp_path: Path
) -> None:
    with running(tmp_path, patience=20, UMBEL_QUERY_SECONDS="600") as api, ExitStack() as stack:  # type: ignore[arg-type]
        clients = [stack.enter_context(api.connect()) for _ in range(SEARCHES)]
        for client in clients:
            client.sendall(SEARCH)
            client.setblocking(False)
        answers = [b""] * SEARCHES

        def rejected() -> int:
            for number, client in enumerate(clients):
                with suppress(BlockingIOError):
                    answers[number] += client.recv(100_000)
            return sum(b'"busy"' in answer for answer in answers)

        # Connections need not be shared out evenly between the processes, so one may have fewer than its places.
        eventually(lambda: (told := rejected()) and told + waiting_searches() == SEARCHES, within=60)
        assert 0 < waiting_searches() <= PLACES
        assert httpx.get(f"{api.url}/v1/images", trust_env=False, timeout=60).status_code == 200
        assert 0 < waiting_searches() <= PLACES
        for answer in filter(None, answers):
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: " in answer
        api.kill()  # it would wait for the searches


def test_health_has_threads_of_its_own(postgres: Postgres, redis: Redis, database: None, tmp_path: Path) -> None:
    with running(tmp_path, UMBEL_API_THREADS="1", UMBEL_QUERY_SECONDS="600") as api, ExitStack() as stack:
        while waiting_searches() < 2:  # one in each process, which has no other thread
            stack.enter_context(api.connect()).sendall(SEARCH)
        answers = [httpx.get(f"{api.url}{path}", trust_env=False, timeout=60).status_code for path in HEALTH]
        assert answers == [200, 503, 200]
        assert waiting_searches() == 2
        api.kill()  # it would wait for the searches


@pytest.mark.slow
@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\n"], ids=["silent", "half a header"])
def test_connections_beyond_the_limit_of_files_wait(
    postgres: Postgres, redis: Redis, tmp_path: Path, said: bytes
) -> None:
    files = 260
    with running(tmp_path, *limited(files)) as api, ExitStack() as stack:
        children = psutil.Process(api.pid).children()
        for _ in range(200):
            stack.enter_context(api.connect()).sendall(said)
        eventually(api.answers)
        assert all(child.num_fds() < files for child in children)
        assert psutil.Process(api.pid).children() == children
    assert "no connection can be accepted" not in api.log.read_text()


@pytest.mark.slow
def test_the_limit_of_files_is_raised(postgres: Postgres, redis: Redis, tmp_path: Path) -> None:
    with running(tmp_path, "sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh") as api:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        for child in psutil.Process(api.pid).children():
            soft, _ = psutil.Process(child.pid).rlimit(psutil.RLIMIT_NOFILE)
            assert soft >= min(hard, 2 * open_files.MOST_CONNECTIONS)


def test_too_few_files_are_told(tmp_path: Path) -> None:
    told = subprocess.run(
        [*limited(100), *UMBEL, "api"], env={**os.environ, "UMBEL_PORT": "1"}, capture_output=True, check=False
    )
    assert told.returncode != 0
    assert b"at most 100 files may be open; the API needs 224" in told.stderr
    assert b"Traceback" not in told.stderr


@pytest.mark.slow
def test_pipelined_requests_of_a_client_that_reads_nothing_take_no_thread(
    postgres: Postgres, redis: Redis, tmp_path: Path
) -> None:
    request = b"GET /static/vendor/redoc/redoc.standalone.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with running(tmp_path, UMBEL_API_THREADS="1") as api, ExitStack() as stack:
        for _ in range(12):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", api.port))
            client.sendall(request * (8192 // len(request)))  # as many as waitress reads at once
        client.settimeout(20)
        assert client.recv(12) == b"HTTP/1.1 200"
        for _ in range(100):
            assert httpx.get(f"{api.url}/v1/images", trust_env=False, timeout=15).status_code == 200
            for child in psutil.Process(api.pid).children():
                assert child.num_fds() < 100  # each answer that waits has its file open


@pytest.mark.slow
def test_pipelined_requests_are_all_answered(postgres: Postgres, redis: Redis, tmp_path: Path) -> None:
    count = 100
    with running(tmp_path) as api, api.connect() as client:
        client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * count)
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = bytearray()
        while part := client.recv(1_000_000):
            received += part
    assert received.count(b"HTTP/1.1 200 OK") == count + 1
    assert received.endswith(b'{"alive":true}\n')

"""An API as `umbel api` serves it, for as long as a benchmark asks it."""

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]

from benchmarks.common import free_port


@dataclass(frozen=True)
class Served:
    """Where it answers, and the process whose children do."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> list[float]:
        """User and system time of each of its processes so far."""
        times = [process.cpu_times() for process in [self.process, *self.process.children()]]
        return [time.user + time.system for time in times]


@contextmanager
def served(*command: str, **env: str) -> Iterator[Served]:
    """command: another module that serves; env: what its environment has beside ours."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        api = subprocess.Popen(
            [sys.executable, "-m", *(command or ("cli.main", "api"))],
            env=os.environ | {"UMBEL_PORT": str(port)} | env,
            stdout=log,
            stderr=log,
        )
        try:
            if not _answers(port, api):
                log.seek(0)
                raise SystemExit(f"The API did not start:\n{log.read().decode()[-3000:]}")
            yield Served(port, psutil.Process(api.pid))
        finally:
            api.terminate()
            api.wait(30)


def _answers(port: int, api: "subprocess.Popen[bytes]", patience: float = 120) -> bool:
    """Whether it comes to answer, and does not end before."""
    deadline = time.monotonic() + patience
    while api.poll() is None and time.monotonic() < deadline:
        if status := answer_of(port, "/healthz", timeout=5):
            return status == http.client.OK
        time.sleep(0.1)
    return False


def answer_of(port: int, path: str, *, timeout: float = 1, body: bytes | None = None, **headers: str) -> int:
    """The status of an answer; 0 if there is none in time."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST" if body else "GET", path, body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()

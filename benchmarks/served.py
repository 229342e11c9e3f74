"""An API as `umbel api` serves it, for as long as a benchmark asks it."""

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.common import free_port


@contextmanager
def served(**env: str) -> Iterator[int]:
    """Yields its port. env: what its environment has beside ours."""
    port = free_port()
    with tempfile.TemporaryDirectory() as elsewhere, tempfile.TemporaryFile() as log:
        api = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli.main", "api"],
            env=os.environ | {"UMBEL_PORT": str(port)} | env,
            cwd=elsewhere,  # web servers look for the application in the current folder first
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(port, api)
            yield port
        finally:
            api.terminate()
            api.wait(30)


def _wait_for(port: int, api: "subprocess.Popen[bytes]", patience: float = 120) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
            return
        except OSError:
            if api.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)

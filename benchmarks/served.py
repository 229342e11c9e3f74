"""An API as `umbel api` serves it, for as long as a benchmark asks it."""

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from benchmarks.common import free_port


@contextmanager
def served(*command: str, **env: str) -> Iterator[int]:
    """Yields its port. command: another module that serves; env: what its environment has beside ours."""
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
            yield port
        finally:
            api.terminate()
            api.wait(30)


def _answers(port: int, api: "subprocess.Popen[bytes]", patience: float = 120) -> bool:
    """Whether it comes to answer, and does not end before."""
    deadline = time.monotonic() + patience
    while api.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with suppress(OSError):
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.client.OK
        time.sleep(0.1)
    return False

"""Processes of the project, started for a test and waited for by what they do, never by the clock."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

UMBEL = (sys.executable, "-P", "-m", "cli.main")


def eventually(look: Callable[[], T], *, within: float = 30, every: float = 0.05) -> T:
    """What `look` returns, as soon as it is true; fails with its last answer after `within` seconds."""
    deadline = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {within} s: {seen!r}"
        time.sleep(every)
    return seen


class Process:
    """One `umbel …` process with its output in a file."""

    def __init__(self, *arguments: str, log: Path, **environment: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*UMBEL, *arguments],
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL: no goodbye, nothing put in order."""
        self._process.kill()
        self._process.wait()

    def stop(self, within: float = 30) -> int:
        """SIGTERM; returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(within)

    def running(self) -> bool:
        return self._process.poll() is None

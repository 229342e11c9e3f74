"""Processes of the project, started for a test and waited for by what they do, never by the clock."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil  # type: ignore[import-untyped]

T = TypeVar("T")

UMBEL = (sys.executable, "-P", "-m", "cli.main")


def eventually(look: Callable[[], T], *, within: float = 30, every: float = 0.05) -> T:
    """What `look` returns, as soon as it is true; fails with its last answer after `within` seconds."""
    deadline = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {within} s: {seen!r}"
        time.sleep(every)
    return seen


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def can_mount() -> bool:
    """Whether `with_disk` can be used."""
    tried = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    return os.geteuid() == 0 and bool(shutil.which("unshare")) and subprocess.run(tried, check=False).returncode == 0


def with_disk(folder: str, options: str) -> tuple[str, ...]:
    """What runs a command that has a small disk of its own at a folder; the folder may name variables of the shell."""
    script = f'mkdir -p "{folder}" && mount -t tmpfs -o {options} none "{folder}" && exec "$@"'
    return ("unshare", "-m", "sh", "-c", script, "sh")


@contextmanager
def frozen(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Processes that stand still: their connections stay open, and nothing answers."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


class Process:
    """One `umbel …` process with its output in a file. inside: a command that runs the one that follows it."""

    def __init__(self, *arguments: str, log: Path, inside: Sequence[str] = (), **environment: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*inside, *UMBEL, *arguments],
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: no goodbye, nothing put in order."""
        self._process.kill()
        self._process.wait()

    def stop(self, within: float = 30) -> int:
        """SIGTERM; returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(within)

    def frozen(self) -> AbstractContextManager[None]:
        """Let it stand still for as long as this lasts."""
        return frozen([psutil.Process(self._process.pid)])

    def running(self) -> bool:
        return self._process.poll() is None

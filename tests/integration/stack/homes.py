"""Homes of a stack for one test."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from stack.process import processes_in
from tests.processes import free_port
from umbel.base.settings import Settings


def of_this_home(home: Path) -> list[psutil.Process]:
    """Every process that has the home in its command line or works in its folders."""
    mine = processes_in(home / "postgres", "postgres") + processes_in(home / "redis", "redis-server")
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE and str(home) in (process.info["cmdline"] or ()):
            mine.append(process)
    return mine


@contextmanager
def new_home() -> Iterator[Path]:
    """A home that does not exist yet; nothing that runs in it survives.

    Not below pytest's own folder: each new session of pytest resets its permissions, and with them what was granted.
    """
    with tempfile.TemporaryDirectory(prefix="umbel-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder, "home")
        for process in of_this_home(Path(folder, "home")):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def on_a_free_port(home: Path) -> Settings:
    return Settings(home=home, port=free_port())

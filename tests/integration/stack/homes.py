"""Homes of a stack for one test, and waiting for what happens in them."""

import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil

from stack.process import processes_in
from umbel.base.settings import Settings


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


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
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return Settings(home=home, port=probe.getsockname()[1])

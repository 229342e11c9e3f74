"""The state of a stack that other processes can read: the supervisor's lock and the file `stack.json`."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil  # type: ignore[import-untyped]
from pydantic import TypeAdapter

from stack.server_user import writing_below
from umbel.base.errors import StackError
from umbel.base.settings import Settings

ServiceState = Literal["waiting", "starting", "ready", "restarting", "stopped"]


class AlreadyRunning(StackError):
    """Another supervisor holds this home."""


@dataclass(frozen=True)
class ServiceStatus:
    """One supervised process. created: seconds since 1970; pid and created together identify a process for good."""

    name: str
    state: ServiceState
    pid: int | None = None
    created: float | None = None
    restarts: int = 0
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class StackStatus:
    """The whole stack. ready: every service is. error: why the last supervisor gave up, if it did."""

    home: str
    url: str
    port: int
    running: bool = False
    ready: bool = False
    pid: int | None = None
    created: float | None = None
    started_at: str | None = None
    services: tuple[ServiceStatus, ...] = ()
    error: str | None = None


STATUS = TypeAdapter(StackStatus)


def status(settings: Settings) -> StackStatus:
    """The status of this home's stack, from its two files; no process is asked."""
    last = read_state(settings)
    running = _lock_is_held(settings.home)
    if not running or not find_process(last.pid, last.created):  # ended, or the next one has written nothing yet
        return replace(last, running=running, ready=False, pid=None, created=None, services=())
    return replace(last, running=True)


def has_run(settings: Settings) -> bool:
    """Whether there ever was a supervisor in this home."""
    return _state_file(settings.home).exists()


def read_state(settings: Settings) -> StackStatus:
    """What the last supervisor wrote, whether it still runs or not."""
    try:
        return STATUS.validate_json(_state_file(settings.home).read_bytes())
    except (OSError, ValueError):  # absent, or another version's
        return StackStatus(home=str(settings.home), url=url(settings), port=settings.port)


def write_state(settings: Settings, state: StackStatus) -> None:
    """Replace stack.json atomically."""
    path = _state_file(settings.home)
    unfinished = path.with_suffix(".tmp")
    with suppress(OSError):  # a full disk must not stop the supervision
        unfinished.write_bytes(STATUS.dump_json(state, indent=1))
        unfinished.replace(path)


@contextmanager
def only_supervisor(home: Path) -> Iterator[None]:
    """Hold the lock of this home's supervisor. It ends with the process, so it is never stale.

    Raises AlreadyRunning if there is one, StackError if the home cannot be written.
    """
    with writing_below(home):
        home.mkdir(parents=True, exist_ok=True)
        lock = os.open(_lock_file(home), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + 0.5  # status() holds it for an instant
        while not _try(lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise AlreadyRunning(f"the stack in {home} is already running")
            time.sleep(0.05)
        yield
    finally:
        os.close(lock)


def find_process(pid: int | None, created: float | None) -> psutil.Process | None:
    """The process with that number, if it is the one that was created then and has not ended."""
    if pid is None or created is None:
        return None
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        # The kernel counts from boot, and the clock may have been set since; pids come round more slowly than that.
        if abs(process.create_time() - created) < 2 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def created(pid: int | None) -> float | None:
    """When a process was created, seconds since 1970; None if it is gone."""
    with suppress(psutil.Error):
        return float(psutil.Process(pid).create_time()) if pid else None
    return None


def url(settings: Settings) -> str:
    """The API's URL for clients on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _lock_is_held(home: Path) -> bool:
    try:
        lock = os.open(_lock_file(home), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def _try(lock: int, mode: int) -> bool:
    try:
        fcntl.flock(lock, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_file(home: Path) -> Path:
    return home / "supervisor.lock"


def _state_file(home: Path) -> Path:
    return home / "stack.json"

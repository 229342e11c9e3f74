"""The stack from outside: start it in the background, wait for it, stop it."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence

import psutil  # type: ignore[import-untyped]

from stack.process import last_line, open_log
from stack.server_user import writing_below
from stack.services import UMBEL
from stack.state import StackStatus, find_process, has_run, only_supervisor, read_state, status
from stack.supervisor import clear_leftovers
from umbel.base.errors import StackError
from umbel.base.settings import Settings

POLL = 0.1  # seconds between two reads of stack.json


def ignore(_: StackStatus) -> None:
    """Report nothing."""


def start_detached(
    settings: Settings,
    *,
    command: Sequence[str] = (*UMBEL, "up"),
    on_wait: Callable[[StackStatus], None] = ignore,
    timeout: float = 300,
) -> StackStatus:
    """Start a supervisor that outlives us, unless there is one, and return when the stack is ready.

    on_wait: called with the status while services are missing. timeout: seconds.
    Raises StackError with the cause if the supervisor gives up, or after the timeout (the supervisor goes on trying).
    """
    process = None if status(settings).running else _spawn(settings, command)
    try:
        return _wait_ready(settings, process, on_wait, timeout)
    except KeyboardInterrupt:
        if process:
            process.terminate()
        raise


def stop_running(settings: Settings, *, on_wait: Callable[[StackStatus], None] = ignore, timeout: float = 120) -> bool:
    """Stop the stack of this home and wait until it is gone. Returns whether anything was running."""
    supervisor = _find_supervisor(settings)
    if supervisor is None:
        return _stop_leftovers(settings)
    supervisor.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while (now := status(settings)).running or find_process(supervisor.pid, supervisor.create_time()):
        if time.monotonic() > deadline:
            raise StackError(f"the stack (process {supervisor.pid}) does not stop; see {settings.home / 'logs'}")
        on_wait(now)
        time.sleep(POLL)
    return True


def _find_supervisor(settings: Settings) -> psutil.Process | None:
    """The supervisor of this home, if one runs. Raises StackError if its process cannot be seen from here."""
    deadline = time.monotonic() + 2  # a supervisor that has just started has not written its number yet
    while (now := status(settings)).running:
        if supervisor := find_process(now.pid, now.created):
            return supervisor
        if time.monotonic() > deadline:
            raise StackError(
                f"a stack runs in {settings.home}, but not where its processes can be seen from (in a container?)"
            )
        time.sleep(POLL)
    return None


def _stop_leftovers(settings: Settings) -> bool:
    """End what a killed supervisor left, if there ever was one in this home."""
    if not has_run(settings):
        return False
    with only_supervisor(settings.home):
        return clear_leftovers(settings)


def _spawn(settings: Settings, command: Sequence[str]) -> "subprocess.Popen[bytes]":
    with writing_below(settings.home), open_log(settings.home / "logs" / "umbel.log") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def _wait_ready(
    settings: Settings,
    process: "subprocess.Popen[bytes] | None",
    on_wait: Callable[[StackStatus], None],
    timeout: float,
) -> StackStatus:
    deadline = time.monotonic() + timeout
    while not (now := status(settings)).ready:
        ended = process is None or process.poll() is not None
        if ended and not status(settings).running:
            raise StackError(_cause(settings, process))
        if time.monotonic() > deadline:
            missing = (
                ", ".join(service.name for service in now.services if service.state != "ready") or "the supervisor"
            )
            raise StackError(
                f"the stack is not ready after {timeout:g} s, {missing} is missing; it goes on trying: "
                f"see {settings.home / 'logs'}, `umbel down` stops it"
            )
        on_wait(now)
        time.sleep(POLL)
    return now


def _cause(settings: Settings, process: "subprocess.Popen[bytes] | None") -> str:
    """Why the supervisor ended, in one line."""
    written = read_state(settings)
    if written.error and (process is None or written.pid == process.pid):
        return written.error
    log = settings.home / "logs" / "umbel.log"
    words = log.read_text(errors="replace")[-10_000:] if log.exists() else ""
    return f"the stack has ended: {last_line(words)} (more in {log})"

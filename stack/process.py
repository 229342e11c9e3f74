"""One child process: what to run, where its words go, and how to end it together with everything it started."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil  # type: ignore[import-untyped]

from stack.server_user import Account
from umbel.base.errors import StackError

LARGEST_LOG = 20 * 2**20  # bytes; a longer log is set aside when its process starts
PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def nothing() -> None:
    """Prepare nothing."""


def no_remedy(words: str) -> str | None:
    """Know no cure for a start that failed."""


@dataclass(frozen=True)
class Program:
    """What to run and how it behaves.

    ready: cheap probe (at most about a second) of whether it does its work. steady_seconds: least age at which to
    believe that; for a program that cannot be asked. prepare: called before every start.
    remedy: given what a start that failed has said, repairs the cause and tells how; None: knows none.
    hurry_signal: for somebody who will not wait for stop_signal to be obeyed. orphan_signal: what the kernel sends when
    the supervisor is killed; None: stop_signal.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    prepare: Callable[[], None] = nothing
    remedy: Callable[[str], str | None] = no_remedy
    account: Account | None = None
    env: Mapping[str, str] | None = None  # None: ours
    cwd: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    hurry_signal: signal.Signals = signal.SIGKILL
    orphan_signal: signal.Signals | None = None
    stop_seconds: float = 20
    steady_seconds: float = 0


class Child:
    """A program running as our child, leader of its own session, so that a terminal's Ctrl-C reaches only us."""

    def __init__(self, program: Program, log: Path) -> None:
        self.program = program
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._swept = True
        self._said_before = 0

    @property
    def running(self) -> bool:
        return self._process is not None and self.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the program, its output appended to the log. Raises StackError if it cannot be executed."""
        program = self.program
        become: dict[str, Any] = program.account.options() if program.account else {}
        try:
            with open_log(self.log) as log:
                self._said_before = log.tell()
                self._process = subprocess.Popen(
                    program.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=program.env,
                    cwd=program.cwd,
                    start_new_session=True,
                    preexec_fn=_die_with_parent(program.orphan_signal or program.stop_signal),  # noqa: PLW1509 – takes no lock
                    **become,
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise StackError(f"cannot start {program.name}: {error}") from error
        self._swept = False

    def poll(self) -> int | None:
        """None while it runs; else its exit code, or minus the signal that ended it. Leaves no straggler."""
        if self._process is None:
            return None
        code = self._process.poll()
        if code is not None and not self._swept:
            self._swept = True  # once: later the number may be another group's
            self._signal_group(signal.SIGKILL)
        return code

    def send(self, number: signal.Signals) -> None:
        """Signal the program itself, not what it started."""
        if self._process and self.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the program and everything it started, now."""
        if self._process and self.poll() is None:
            self._signal_group(signal.SIGKILL)
            self._process.wait()
            self.poll()

    def stop(self, number: signal.Signals | None = None) -> None:
        """Ask it to end, wait up to stop_seconds, then kill it."""
        self.send(number or self.program.stop_signal)
        if self._process:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self.program.stop_seconds)
            self.kill()
        self._process = None

    def words(self) -> str:
        """What the program has said since it was started."""
        try:
            with self.log.open("rb") as log:
                log.seek(self._said_before)
                return log.read(1_000_000).decode(errors="replace")
        except OSError:
            return ""

    def wait_ready(self, seconds: float) -> None:
        """Wait until the program does its work. Raises StackError with its last words if it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while not self.program.ready():
            if self.poll() is not None:
                raise StackError(f"{self.program.name} does not start: {last_line(self.words())} (more in {self.log})")
            if time.monotonic() > deadline:
                raise StackError(f"{self.program.name} is not ready after {seconds:g} s (see {self.log})")
            time.sleep(0.02)

    def _signal_group(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def open_log(path: Path) -> IO[bytes]:
    """The log at `path`, to append to; one that has grown too long is set aside as `….1` first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LARGEST_LOG:
        path.rename(path.with_name(f"{path.name}.1"))
    log = path.open("ab")
    log.seek(0, os.SEEK_END)
    return log


def last_line(words: str) -> str:
    """The line that most likely names the cause: the last fatal one, else the last that says anything."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    fatal = [line for line in lines if any(mark in line for mark in ("FATAL", "PANIC", " error: "))]
    return (fatal or lines or ["it said nothing"])[-1]


def processes_in(folder: Path, name: str) -> list[psutil.Process]:
    """Running processes called `name` that work in `folder`, as a Postgres or Redis does in its data folder."""
    found = []
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error, OSError):
            if process.info["name"] == name and Path(process.cwd()) == folder.resolve():
                found.append(process)
    return found


def end_processes(processes: Iterable[psutil.Process], number: signal.Signals, seconds: float) -> None:
    """Signal processes that are not our children, wait for them, and kill what is left of them and their families."""
    heads = list(processes)
    families = list(heads)
    for process in heads:
        with suppress(psutil.Error):
            families += process.children(recursive=True)
            process.send_signal(number)
    psutil.wait_procs(heads, timeout=seconds)
    for process in families:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(families, timeout=5)


def _die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """To run in the child before exec: have the kernel signal it when we die, even by kill -9.

    Linux ties this to the thread that forked, so only the main thread, which lives as long as the process, may ask.
    """
    if _libc is None or threading.current_thread() is not threading.main_thread():
        return None
    parent = os.getpid()

    def ask() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # we died before it could ask
            os._exit(1)

    return ask

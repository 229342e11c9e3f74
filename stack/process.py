"""One child process: what to run, where its output goes, and how to end it together with everything it started."""

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


@dataclass(frozen=True)
class Program:
    """What to run and how it behaves.

    ready: cheap probe (at most about a second) of whether it works. steady_seconds: age from which the probe counts,
    for a program that cannot be probed. prepare: called before every start. remedy: given the output of a failed
    start, repairs the cause and says how, or returns None. hurry_signal: sent when stop_signal takes too long.
    orphan_signal: what the kernel sends when the supervisor is killed; None: stop_signal. lost: whether nothing can
    reach it any more, though it runs.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    prepare: Callable[[], None] = lambda: None
    remedy: Callable[[str], str | None] = lambda _: None
    account: Account | None = None
    env: Mapping[str, str] | None = None  # None: ours
    cwd: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    hurry_signal: signal.Signals = signal.SIGKILL
    orphan_signal: signal.Signals | None = None
    stop_seconds: float = 20
    steady_seconds: float = 0
    lost: Callable[[], bool] = lambda: False


class Child:
    """A program running as our child, leader of its own session, so that a terminal's Ctrl-C reaches only us."""

    def __init__(self, program: Program, log: Path) -> None:
        self.program = program
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._group_killed = True
        self._output_start = 0

    @property
    def running(self) -> bool:
        return self._process is not None and self.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the program, its output appended to the log. Raises StackError if it cannot be executed."""
        program = self.program
        before = _die_with_parent(program.orphan_signal or program.stop_signal)
        become: dict[str, Any] = program.account.options(before) if program.account else {"preexec_fn": before}
        try:
            with open_log(self.log) as log:
                self._output_start = log.tell()
                self._process = subprocess.Popen(
                    program.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=program.env,
                    cwd=program.cwd,
                    start_new_session=True,
                    **become,
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise StackError(f"cannot start {program.name}: {error}") from error
        self._group_killed = False

    def poll(self) -> int | None:
        """None while it runs; else its exit code, or minus the signal that ended it. Kills what it left running."""
        if self._process is None:
            return None
        code = self._process.poll()
        if code is not None and not self._group_killed:
            self._group_killed = True  # once: later the number may belong to another group
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

    def output(self) -> str:
        """The program's output since it was started."""
        try:
            with self.log.open("rb") as log:
                log.seek(self._output_start)
                return log.read(1_000_000).decode(errors="replace")
        except OSError:
            return ""

    def wait_ready(self, seconds: float) -> None:
        """Wait until the program is ready. Raises StackError with its last line if it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while not self.program.ready():
            if self.poll() is not None:
                raise StackError(f"{self.program.name} does not start: {last_line(self.output())} (more in {self.log})")
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


def last_line(output: str) -> str:
    """The line that most likely names the cause: the last fatal one, else the last that says anything."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    fatal = [line for line in lines if any(mark in line for mark in ("FATAL", "PANIC", " error: "))]
    return (fatal or lines or ["no output"])[-1]


def processes_in(folder: Path, name: str) -> list[psutil.Process]:
    """Running processes called `name` that work in `folder`, as a Postgres or Redis does in its data folder."""
    found = []
    for process in psutil.process_iter(["name", "ppid"]):
        with suppress(psutil.Error, OSError):
            if process.info["name"] == name and Path(process.cwd()) == folder.resolve():
                found.append(process)
    return found


def end_processes(processes: Iterable[psutil.Process], number: signal.Signals, seconds: float) -> None:
    """Signal processes that are not our children, wait, and kill what is left of them and of their descendants."""
    heads = list(processes)
    all_of_them = list(heads)
    for process in heads:
        with suppress(psutil.Error):
            all_of_them += process.children(recursive=True)
            process.send_signal(number)
    psutil.wait_procs(heads, timeout=seconds)
    for process in all_of_them:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(all_of_them, timeout=5)


def _die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """A function to run in the child before exec: the kernel then signals it when we die, even by kill -9.

    Linux ties this to the thread that forked, so only the main thread, which lives as long as the process, may ask.
    """
    if _libc is None or threading.current_thread() is not threading.main_thread():
        return None
    parent = os.getpid()

    def request() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # we died before the request
            os._exit(1)

    return request

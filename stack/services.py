"""The services of a stack: Umbel's own programs, and each one kept running, restarted ever more slowly if it dies."""

import errno
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import psutil  # type: ignore[import-untyped]

from stack.process import Child, Program, last_line
from stack.state import ServiceState, ServiceStatus, created, url
from umbel.base.errors import StackError
from umbel.base.settings import Settings

# -P: a folder `cli` in the directory where `umbel up` is typed is not ours.
UMBEL = (sys.executable, "-P", "-m", "cli.main")
FIRST_DELAY, LONGEST_DELAY = 0.5, 15.0  # seconds before a restart; doubled each time
HEALTHY_SECONDS = 30  # a service that was ready for this long has its failures forgotten
FIRST_TRIES = 3  # a service that dies this often without ever being ready is given up


class Service:
    """A program with its restarts. `tick` does what is due and returns without waiting.

    report: called with a sentence when something happens.
    """

    def __init__(self, program: Program, logs: Path, report: Callable[[str], None]) -> None:
        self.program = program
        self.child = Child(program, logs / f"{program.name}.log")
        self.state: ServiceState = "waiting"
        self._report = report
        self._was_ready = False
        self._failures = 0
        self._restarts = -1
        self._created: float | None = None
        self._since = time.monotonic()
        self._next_start = 0.0

    def tick(self) -> None:
        """Start, restart or probe, whichever is due. Raises StackError if the program cannot run at all."""
        age = time.monotonic() - self._since
        if self.state in ("waiting", "restarting"):
            if time.monotonic() >= self._next_start:
                self._start()
        elif (code := self.child.poll()) is not None:
            self._died(code)
        elif self.state == "starting" and age >= self.program.steady_seconds and self.program.ready():
            self._report(f"{self.program.name} is ready after {age:.1f} s")
            self._enter("ready")
            self._was_ready = True
        elif self.state == "ready" and self.program.lost():
            self._report(f"{self.program.name}: its socket was removed; starting it again")
            self.child.send(self.program.stop_signal)
            self._enter("starting")  # until it has ended

    def status(self) -> ServiceStatus:
        alive = self.state in ("starting", "ready")
        return ServiceStatus(
            name=self.program.name,
            state=self.state,
            pid=self.child.pid if alive else None,
            created=self._created if alive else None,
            restarts=max(0, self._restarts),
            command=self.program.command,
        )

    def _start(self) -> None:
        try:
            self.program.prepare()
            self.child.start()
        except StackError as error:
            if not self._was_ready:
                raise
            self._wait_and_restart(error.detail)
            return
        self._restarts += 1
        self._created = created(self.child.pid)
        self._enter("starting")

    def _died(self, code: int) -> None:
        output = self.child.output()
        remedy = self.program.remedy(output) if self.state == "starting" else None
        if remedy:
            self._report(f"{self.program.name}: {remedy}")
        elif not self._was_ready and self._failures + 1 >= FIRST_TRIES:
            reason = last_line(output).removeprefix("umbel: ") if output.strip() else exit_reason(code)
            raise StackError(f"{self.program.name} does not start: {reason} (more in {self.child.log})")
        self._wait_and_restart(exit_reason(code))

    def _wait_and_restart(self, reason: str) -> None:
        if self.state == "ready" and time.monotonic() - self._since > HEALTHY_SECONDS:
            self._failures = 0
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2**self._failures)
        self._failures += 1
        self._next_start = time.monotonic() + delay
        self._report(f"{self.program.name} has ended ({reason}); starting it again in {delay:g} s")
        self._enter("restarting")

    def _enter(self, state: ServiceState) -> None:
        self.state = state
        self._since = time.monotonic()


def exit_reason(code: int) -> str:
    """An exit code of subprocess in words."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def take_down(services: list[Service], hurry: Callable[[], bool]) -> None:
    """Ask all to end, wait for the longest of their stop_seconds, then kill. `hurry` shortens the wait to 5 s."""
    for service in services:
        service.child.send(service.program.stop_signal)
    deadline = time.monotonic() + max((service.program.stop_seconds for service in services), default=0)
    hurried = False
    while any(service.child.running for service in services) and time.monotonic() < deadline:
        if hurry() and not hurried:
            hurried = True
            deadline = min(deadline, time.monotonic() + 5)
            for service in services:
                service.child.send(service.program.hurry_signal)
        time.sleep(0.02)
    for service in services:
        service.child.kill()
        service.state = "stopped"


def app_programs(settings: Settings) -> tuple[Program, ...]:
    """Umbel's own processes. /readyz needs a live worker, so it shows when the worker has loaded its model."""
    return (
        Program("worker", (*UMBEL, "worker"), ready=partial(answers, settings, "/readyz")),
        Program("scheduler", (*UMBEL, "scheduler"), ready=lambda: True, steady_seconds=3),
        Program("api", (*UMBEL, "api"), ready=partial(answers, settings, "/healthz")),
    )


def answers(settings: Settings, path: str) -> bool:
    """Whether the API answers 200 to this path within a second. Proxies of the environment are not used."""
    try:
        with build_opener(ProxyHandler({})).open(url(settings) + path, timeout=1) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, HTTPException):
        return False


def check_port(settings: Settings) -> None:
    """Raise StackError if the API could not listen where the settings say."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the API does
            probe.bind((settings.host, settings.port))
    except OSError as error:
        place = f"port {settings.port} on {settings.host}"
        if error.errno == errno.EADDRINUSE:
            raise StackError(f"{place} is in use by {_user_of(settings.port)}: set UMBEL_PORT to a free one") from error
        raise StackError(f"cannot use {place} ({error.strerror}): set UMBEL_PORT or UMBEL_HOST") from error


def _user_of(port: int) -> str:
    """Who listens on the port, as far as this user may see it."""
    with suppress(psutil.Error, OSError):
        for one in psutil.net_connections(kind="tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid:
                words = psutil.Process(one.pid).cmdline()
                if words[: len(UMBEL)][-2:] == list(UMBEL[-2:]):
                    return f"another Umbel (process {one.pid})"
                return f"process {one.pid} ({' '.join(words)[:60]})"
    return "another program"

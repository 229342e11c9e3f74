"""One program kept running: started, watched, and started again when it dies, ever more slowly if it keeps dying."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

from stack.process import Child, Program, last_line
from stack.state import PartState, PartStatus, created
from umbel.base.errors import StackError

FIRST_DELAY, LONGEST_DELAY = 0.5, 15.0  # seconds before a dead program is started again; doubled each time
HEALTHY_SECONDS = 30  # a program that did its work for this long has its failures forgiven
FIRST_TRIES = 3  # a program that dies this often without ever doing its work never will


class Part:
    """A program with its restarts. `tick` does what is due and returns at once.

    report: called with a sentence when something happens.
    """

    def __init__(self, program: Program, logs: Path, report: Callable[[str], None]) -> None:
        self.program = program
        self.child = Child(program, logs / f"{program.name}.log")
        self.state: PartState = "waiting"
        self._report = report
        self._was_ready = False
        self._failures = 0
        self._restarts = -1
        self._created: float | None = None
        self._since = time.monotonic()
        self._next_start = 0.0

    def tick(self) -> None:
        """Start, restart or probe, whichever is due. Raises StackError if the program cannot do its work at all."""
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

    def status(self) -> PartStatus:
        alive = self.state in ("starting", "ready")
        return PartStatus(
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
        words = self.child.words()
        remedy = self.program.remedy(words) if self.state == "starting" else None
        if remedy:
            self._report(f"{self.program.name}: {remedy}")
        elif not self._was_ready and self._failures + 1 >= FIRST_TRIES:
            reason = last_line(words).removeprefix("umbel: ") if words.strip() else exit_reason(code)
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

    def _enter(self, state: PartState) -> None:
        self.state = state
        self._since = time.monotonic()


def exit_reason(code: int) -> str:
    """subprocess's exit code in words."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def take_down(parts: list[Part], hurry: Callable[[], bool]) -> None:
    """Ask all to end, wait as long as the most patient of them is given, then kill. `hurry` cuts the patience short."""
    for part in parts:
        part.child.send(part.program.stop_signal)
    deadline = time.monotonic() + max((part.program.stop_seconds for part in parts), default=0)
    hurried = False
    while any(part.child.running for part in parts) and time.monotonic() < deadline:
        if hurry() and not hurried:
            hurried = True
            deadline = min(deadline, time.monotonic() + 5)
            for part in parts:
                part.child.send(part.program.hurry_signal)
        time.sleep(0.02)
    for part in parts:
        part.child.kill()
        part.state = "stopped"

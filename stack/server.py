"""What the embedded Postgres and Redis have in common: data below the home, a Unix socket, and a start by hand."""

import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path

from stack.process import Child, Program
from umbel.base.errors import StackError


class Server(ABC):
    """One server with its data in `home`/`name` and its socket in `socket_dir`.

    durable=False trades safety against a power cut for speed: for tests alone.
    """

    name: str

    def __init__(self, home: Path, socket_dir: Path, *, durable: bool = True) -> None:
        self.home = home
        self.data = home / self.name
        self.socket_dir = socket_dir
        self.durable = durable
        self.log = home / "logs" / f"{self.name}.log"
        self._child: Child | None = None

    @abstractmethod
    def program(self) -> Program:
        """The server as something to supervise in the foreground. Raises StackError if its binaries are missing."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it takes connections now: not while it starts, recovers or stops."""

    def start(self, timeout: float = 120) -> None:
        """Start the server as our child and wait until it is ready. The caller stops it."""
        program = self.program()
        self._child = Child(program, self.log)
        try:
            for last_try in (False, True):
                program.prepare()
                self._child.start()
                try:
                    return self._child.wait_ready(timeout)
                except StackError:
                    if last_try or not program.remedy(self._child.output()):
                        raise
        except BaseException:
            self.stop(program.hurry_signal)
            raise

    def stop(self, mode: signal.Signals | None = None) -> None:
        """Stop the server that `start` started, by its own stop signal unless told another."""
        if self._child:
            self._child.stop(mode)
            self._child = None

    def wait_ready(self, timeout: float = 120) -> None:
        """Wait for a server that another process has started. Raises StackError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} is not ready after {timeout:g} s (see {self.log})")
            time.sleep(0.05)

"""What the embedded Postgres and Redis have in common: data below the home, a Unix socket, and a start by hand."""

import signal
from abc import ABC, abstractmethod
from pathlib import Path

from stack.process import Child, Program
from stack.server_user import BARE, Account, private_folder, server_account, writing_below
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

    @property
    @abstractmethod
    def socket(self) -> Path:
        """Where it listens."""

    @abstractmethod
    def command(self) -> tuple[str, ...]:
        """The command line of the server in the foreground. Raises StackError if its binaries are missing."""

    @abstractmethod
    def prepare_data(self, account: Account | None) -> None:
        """Make the data folder for the account that the server runs as. Safe to repeat."""

    @abstractmethod
    def clear_leftovers(self) -> bool:
        """Stop a server whose supervisor was killed. Returns whether there was one."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it takes connections now: not while it starts, recovers or stops."""

    def program(self) -> Program:
        """The server as something to supervise in the foreground."""
        return Program(
            name=self.name,
            command=self.command(),
            ready=self.is_ready,
            lost=lambda: not self.socket.exists(),  # cleaners of /tmp
            prepare=self.prepare,
            account=server_account(),
            env=BARE,
            cwd=Path("/"),
        )

    def prepare(self) -> None:
        """Make folders and permissions, and stop a server left over. Safe to repeat."""
        account = server_account()
        with writing_below(self.home):
            self.home.mkdir(parents=True, exist_ok=True)
            private_folder(self.socket_dir, account)
            self.prepare_data(account)
            self.clear_leftovers()

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

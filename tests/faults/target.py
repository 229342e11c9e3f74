"""The stack that faults strike: a real one in a home of its own, with its processes, its ledger and its files."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Any

import psutil
import psycopg

from stack.state import StackStatus, status
from tests.faults.bucket import Bucket
from tests.faults.clients import Clients
from tests.faults.disks import Disk
from tests.processes import eventually
from tests.stacks import Stack
from umbel.base.settings import Settings

# A reserve of free space would refuse uploads before the disk is full: here it does become full. Searches that wait
# less let retired vectors go after ten seconds.
EXPOSED = {"UMBEL_MIN_FREE_BYTES": "0", "UMBEL_QUERY_SECONDS": "5"}
PATIENCE_SECONDS = 20  # how long a fault waits for its target, which may just be starting again


class NoTarget(Exception):
    """There is nothing that this fault could strike now."""


class Target(Stack):
    """A stack, seen from below: where a person sees commands and URLs, this sees process ids and tables.

    exposed: what only storms need, too: disks that can become full, and a bucket to import from.
    disk: of all state but the blobs, which are on blob_disk.
    """

    def __init__(self, *, exposed: bool = False) -> None:
        super().__init__()
        self.settings = Settings(home=self.home / "var", port=self.port)
        self.environment["UMBEL_PRIVATE_HOSTS"] = "127.0.0.1"  # where receivers of events are
        self.disk = Disk(self.home / "var") if exposed else None
        self.blob_disk = Disk(self.home / "var" / "blobs") if exposed else None
        self.bucket = Bucket() if exposed else None
        if self.bucket:
            self.environment |= self.bucket.environment | EXPOSED

    def up(self) -> None:
        """Start it, or what is missing of it, and wait until it serves."""
        self.umbel("up", "--detach")

    def down(self) -> None:
        self.umbel("down", check=False)

    def remove(self) -> None:
        """Take it down, with all its state."""
        self.down()
        if self.bucket:
            self.bucket.close()
        for disk in (self.blob_disk, self.disk):
            if disk:
                disk.remove()
        shutil.rmtree(self.home, ignore_errors=True)

    def status(self) -> StackStatus:
        return status(self.settings)

    def process(self, name: str) -> psutil.Process:
        """The process of one supervised part, alive; waits a little if it is just being restarted. Raises NoTarget."""
        try:
            return eventually(lambda: self._process(name), within=PATIENCE_SECONDS)
        except AssertionError as error:
            raise NoTarget(f"{name} is not running") from error

    def supervisor(self) -> psutil.Process:
        pid = self.status().pid
        if pid is None:
            raise NoTarget("no supervisor is running")
        return psutil.Process(pid)

    def decoders(self) -> list[psutil.Process]:
        """The processes in which the worker decodes; without those that Python's multiprocessing keeps for itself."""
        return [child for child in children(self.process("worker")) if "_tracker" not in " ".join(command(child))]

    def api_processes(self) -> list[psutil.Process]:
        """The API's children, which answer requests."""
        return children(self.process("api"))

    def backends(self) -> list[psutil.Process]:
        """The processes of Postgres that serve Umbel's sessions."""
        return [child for child in children(self.process("postgres")) if ": umbel umbel " in " ".join(command(child))]

    def ledger(self, **options: Any) -> "psycopg.Connection[Any]":
        """A connection of its own to the database, read-only. Raises psycopg.Error while Postgres is away."""
        connection = psycopg.connect(
            host=str(self.settings.socket_dir), user="umbel", dbname="umbel", connect_timeout=2, **options
        )
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return connection

    def has_worker(self, name: str) -> bool:
        """Whether a worker of that name has taken its place in the ledger."""
        try:
            with self.ledger() as connection:
                return connection.execute("SELECT FROM worker WHERE name = %s", [name]).fetchone() is not None
        except psycopg.Error:
            return False

    def _process(self, name: str) -> psutil.Process | None:
        for service in self.status().services:
            if service.name == name and service.pid:
                with suppress(psutil.Error):
                    process = psutil.Process(service.pid)
                    return process if process.status() != psutil.STATUS_ZOMBIE else None
        return None


def children(process: psutil.Process) -> list[psutil.Process]:
    """Its living children, oldest first."""
    found: list[psutil.Process] = []
    with suppress(psutil.Error):
        found = process.children(recursive=True)
    return sorted(found, key=lambda child: child.pid)


def command(process: psutil.Process) -> Sequence[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return ()


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a fault strikes. collection: that all pictures are in; stop: the run is to end."""

    target: Target
    clients: Clients
    collection: str
    stop: Event

"""A replica of the Postgres of a test run, by streaming replication."""

import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg

from stack.binaries import postgres_programs
from stack.postgres import PORT, SUPERUSER
from stack.process import Program, processes_in
from stack.server_user import Account, let_through, private_folder, run_as
from tests.postgres_like import PostgresLike


class ReplicaServer(PostgresLike):
    """Of the server in the same `socket_dir`; number: from 1."""

    name = "replica"
    user = SUPERUSER

    def __init__(self, home: Path, socket_dir: Path, number: int) -> None:
        super().__init__(home, socket_dir)
        self.port = PORT + number
        self.data = home / f"replica{number}"
        self.log = home / "logs" / f"replica{number}.log"

    def program(self) -> Program:
        # "fast": it does not wait for the last client, which may have died with a connection of its own.
        return replace(super().program(), stop_signal=signal.SIGINT)

    def stop(self, mode: signal.Signals | None = None) -> None:
        """As of any server; the primary then keeps nothing for it any more."""
        super().stop(mode)
        with suppress(psycopg.Error), self.connect(PORT) as primary:
            primary.execute("SELECT pg_drop_replication_slot(%s)", [self.data.name])

    def command(self) -> tuple[str, ...]:
        options = {
            "listen_addresses": "",
            "port": str(self.port),
            "unix_socket_directories": f'"{self.socket_dir}"',
            "shared_buffers": "64MB",
            "fsync": "off",
        }
        flags = (word for name, value in options.items() for word in ("-c", f"{name}={value}"))
        return (str(postgres_programs() / "postgres"), "-D", str(self.data), *flags)

    def prepare_data(self, account: Account | None) -> None:
        let_through(self.data, account)
        private_folder(self.data, account)
        program = [str(postgres_programs() / "pg_basebackup"), "--pgdata", str(self.data), "--write-recovery-conf"]
        # The slot: else the primary may throw away what this still has to read, before it first asks for it.
        slot = ["--create-slot", "--slot", self.data.name]
        where = ["--host", str(self.socket_dir), "--port", str(PORT), "--user", SUPERUSER]
        done = run_as(account, [*program, *slot, "--checkpoint=fast", *where])
        assert done.returncode == 0, done.stderr

    def processes(self) -> list[psutil.Process]:
        """The server and all that work for it."""
        return processes_in(self.data, "postgres")

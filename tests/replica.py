"""A replica of the Postgres of a test run, by streaming replication."""

from pathlib import Path

import psutil  # type: ignore[import-untyped]

from stack.binaries import postgres_programs
from stack.postgres import PORT, SUPERUSER
from stack.process import processes_in
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
        done = run_as(
            account,
            [*program, "--checkpoint=fast", "--host", str(self.socket_dir), "--port", str(PORT), "--user", SUPERUSER],
        )
        assert done.returncode == 0, done.stderr

    def processes(self) -> list[psutil.Process]:
        """The server and all that work for it."""
        return processes_in(self.data, "postgres")

"""PgBouncer before the Postgres of a test run, lending a connection for a transaction."""

import shutil
import signal

from stack.postgres import PORT, ROLE
from stack.server_user import Account, let_through, private_folder
from tests.postgres_like import PostgresLike

POOLER_PORT = 6432  # only names the socket
CONNECTIONS = 12  # to Postgres; fewer than the clients', so that they do share

CONFIGURATION = """
[databases]
* = host={socket_dir} port={port}
[pgbouncer]
listen_addr =
listen_port = {pooler_port}
unix_socket_dir = {socket_dir}
auth_type = trust
auth_file = {users}
pool_mode = transaction
max_client_conn = 500
default_pool_size = {connections}
server_login_retry = 1
"""


def is_installed() -> bool:
    return shutil.which("pgbouncer") is not None


class Pooler(PostgresLike):
    """Before the server with the same `socket_dir`."""

    name = "pgbouncer"
    port = POOLER_PORT

    def command(self) -> tuple[str, ...]:
        return (str(shutil.which("pgbouncer")), str(self.data / "pgbouncer.ini"))

    def prepare_data(self, account: Account | None) -> None:
        let_through(self.data, account)
        private_folder(self.data, account)
        users = self.data / "users"
        users.write_text(f'"{ROLE}" ""\n')
        configuration = CONFIGURATION.format(
            socket_dir=self.socket_dir, port=PORT, pooler_port=POOLER_PORT, users=users, connections=CONNECTIONS
        )
        (self.data / "pgbouncer.ini").write_text(configuration)
        for file in self.data.iterdir():
            file.chmod(0o644)

    def stop(self, mode: signal.Signals | None = None) -> None:
        super().stop(mode or signal.SIGTERM)  # to PgBouncer: at once

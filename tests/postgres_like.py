"""A server of a test run that speaks as Postgres does: a replica, a pooler."""

from pathlib import Path
from urllib.parse import quote

import psycopg

from stack.postgres import DATABASE, ROLE
from stack.server import Server


class PostgresLike(Server):
    """On a socket in `socket_dir` that its port names. user: whom `connect` connects as."""

    port: int
    user: str = ROLE

    @property
    def socket(self) -> Path:
        return self.socket_dir / f".s.PGSQL.{self.port}"

    def clear_leftovers(self) -> bool:
        return False

    def is_ready(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def url(self) -> str:
        """SQLAlchemy URL of Umbel's database."""
        return f"postgresql+psycopg://{ROLE}@/{DATABASE}?host={quote(str(self.socket_dir))}&port={self.port}"

    def connect(self, port: int | None = None) -> "psycopg.Connection[tuple[object, ...]]":
        """A connection in autocommit mode. port: of another server in the same folder."""
        return psycopg.connect(
            host=str(self.socket_dir),
            port=port or self.port,
            user=self.user,
            dbname=DATABASE,
            autocommit=True,
            connect_timeout=2,
        )

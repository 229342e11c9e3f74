"""`umbel up` and `umbel down`: real processes; only the programs of Umbel are stand-ins."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from stack import supervisor
from stack.control import start_detached, stop_running
from stack.process import processes_in
from stack.state import find_process, status
from tests.integration.stack.homes import new_home, of_this_home, on_a_free_port
from tests.processes import eventually
from umbel.base.errors import StackError
from umbel.base.settings import Settings

REPO = Path(__file__).parents[3]

# `umbel up` with stand-ins: an API that answers everything with 200, a worker and a scheduler that do nothing.
UP = """
import sys
from functools import partial
from pathlib import Path
from umbel.base.errors import UmbelError
from umbel.base.settings import Settings
from stack import supervisor
from stack.process import Program
from stack.services import answers
from stack.supervisor import Supervisor

supervisor.WARM_SECONDS = 0.5  # patience with what a killed supervisor has left
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
    Program("worker", (*python, worker, str(home)), ready=(home / "working").exists, stop_seconds=30),
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
WORKING = "import pathlib, signal, sys; pathlib.Path(sys.argv[1], 'working').touch()\n"
PATIENT = WORKING + "signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WORKING + "while True: signal.pause()"
BROKEN = "raise SystemExit('the model is missing')"


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
        eventually(lambda: status(settings).ready or process.poll() is not None)
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
    return {service.name: service.pid for service in status(settings).services}


@pytest.mark.direct
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


@pytest.mark.direct
def test_a_part_that_dies_is_started_again_and_the_others_are_left_alone(up: Settings) -> None:
    before = pids(up)
    assert list(before) == ["postgres", "redis", "worker", "scheduler", "api"]
    dead = {"worker", "postgres", "redis"}
    for name in dead:
        os.kill(before[name] or 0, signal.SIGKILL)
    seen = []  # one look at a time: between two of them a service may die, start or get ready

    def all_are_back() -> bool:
        seen[:] = [status(up)]
        return seen[0].ready and all(
            service.pid != before[service.name] for service in seen[0].services if service.name in dead
        )

    eventually(all_are_back)
    assert {service.name for service in seen[0].services if service.pid != before[service.name]} == dead
    assert {service.name: service.restarts for service in seen[0].services}["worker"] == 1


@pytest.mark.slow
def test_up_works_after_its_supervisor_was_killed(settings: Settings) -> None:
    with running(settings, worker=STUBBORN) as killed:
        first = status(settings)
        killed.kill()
        killed.wait()
        assert not status(settings).running
        with running(settings):
            assert [service.name for service in first.services if find_process(service.pid, service.created)] == []
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
    assert (process.returncode, said.count("\n")) == (1, 1)
    assert said.startswith(f"port {settings.port} on 127.0.0.1 is in use by process {os.getpid()} (")
    assert said.endswith("): set UMBEL_PORT to a free one\n")
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
    monkeypatch.setattr(supervisor, "WARM_SECONDS", 0.5)
    with running(settings, worker=STUBBORN) as killed:
        killed.kill()
        killed.wait()
        assert stop_running(settings)
        assert of_this_home(settings.home) == []

"""When a program is started again, how long that waits, and when it is given up."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from stack import services as services_module
from stack.process import LARGEST_LOG, Child, Program, last_line, open_log
from stack.services import Service, exit_reason, take_down
from umbel.base.errors import StackError


class Clock:
    """time.monotonic that goes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(services_module.time, "monotonic", clock)
    return clock


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    services = []

    def make(code: str, **options) -> Service:
        program = Program("it", (sys.executable, "-c", code), **{"ready": lambda: True, **options})
        services.append(Service(program, tmp_path, lambda text: None))
        return services[-1]

    yield make
    for service in services:
        service.child.kill()


def die(service: Service) -> None:
    service.child._process.wait()
    service.tick()


def test_a_dead_program_waits_twice_as_long_each_time_up_to_a_limit(make_service, clock: Clock) -> None:
    service = make_service("import time; time.sleep(60)")
    waits = []
    for _ in range(7):
        service.tick()  # start
        service.tick()  # ready
        assert service.state == "ready"
        service.child.kill()
        service.tick()
        assert service.state == "restarting"
        waits.append(service._next_start - clock.now)
        clock.now = service._next_start
    assert waits == [0.5, 1, 2, 4, 8, 15, 15]
    assert service.status().restarts == 6


def test_health_forgives_failures(make_service, clock: Clock) -> None:
    service = make_service("import time; time.sleep(60)")
    for healthy in (1, 1, 31):
        service.tick()
        service.tick()
        clock.now += healthy
        service.child.kill()
        service.tick()
        wait = service._next_start - clock.now
        clock.now = service._next_start
    assert wait == 0.5


def test_a_program_that_cannot_be_asked_must_have_lived_a_while(make_service, clock: Clock) -> None:
    service = make_service("import time; time.sleep(60)", steady_seconds=3)
    service.tick()
    service.tick()
    assert service.state == "starting"
    clock.now += 3
    service.tick()
    assert service.state == "ready"


def test_nothing_is_started_before_its_wait_is_over(make_service, clock: Clock) -> None:
    service = make_service("import time; time.sleep(60)")
    service.tick()
    service.tick()
    service.child.kill()
    service.tick()
    clock.now += 0.4
    service.tick()
    assert service.state == "restarting"


def test_a_program_that_never_works_is_given_up_with_its_last_words(make_service, clock: Clock) -> None:
    service = make_service("print('first'); print('the cause')", ready=lambda: False)

    def live() -> None:
        service.tick()
        die(service)
        clock.now += 60

    live()
    live()
    with pytest.raises(StackError, match="it does not start: the cause"):
        live()


def test_a_remedy_is_asked_for_once_a_start_has_failed(make_service, clock: Clock) -> None:
    heard = []
    service = make_service(
        "print('broken data')", ready=lambda: False, remedy=lambda words: heard.append(words) or "mended"
    )
    for _ in range(4):
        service.tick()
        die(service)
        clock.now += 60
    assert heard == ["broken data\n"] * 4


def test_what_a_program_has_forked_ends_with_it(tmp_path: Path) -> None:
    code = "import os, time\nif os.fork() == 0:\n time.sleep(60)\nprint(1, flush=True)\ntime.sleep(60)"
    child = Child(Program("it", (sys.executable, "-c", code), ready=lambda: "1" in child.output()), tmp_path / "it.log")
    child.start()
    child.wait_ready(10)
    leader = child._process
    leader.kill()
    leader.wait()
    child.poll()
    deadline = time.monotonic() + 5
    while group_lives(leader.pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def group_lives(group: int) -> bool:
    """Whether any process of that group still runs; a zombie that nobody has reaped does not."""
    for process in psutil.process_iter(["status"]):
        try:
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                return True
        except ProcessLookupError:
            continue
    return False


def test_take_down_kills_what_does_not_listen(make_service) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    service = make_service(code, ready=lambda: "1" in service.child.output(), stop_seconds=0.2)
    while service.state != "ready":
        service.tick()
    take_down([service], hurry=lambda: False)
    assert not service.child.running


def test_a_program_that_cannot_be_executed_is_a_stack_error(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="cannot start it"):
        Child(Program("it", ("/nowhere/it",), ready=lambda: True), tmp_path / "it.log").start()


def test_a_log_that_has_grown_too_long_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "it.log"
    with log.open("wb") as file:
        file.truncate(LARGEST_LOG + 1)
    open_log(log).close()
    assert log.stat().st_size == 0
    assert (tmp_path / "it.log.1").stat().st_size == LARGEST_LOG + 1


@pytest.mark.parametrize(
    ("words", "line"),
    [("a\nb\n\n", "b"), ("x FATAL:  no room\nLOG: bye\n", "x FATAL:  no room"), ("", "no output")],
)
def test_last_line_names_the_cause(words: str, line: str) -> None:
    assert last_line(words) == line


def test_exit_reason_is_in_words() -> None:
    assert [exit_reason(code) for code in (1, -9, -200)] == ["exit status 1", "SIGKILL", "signal 200"]

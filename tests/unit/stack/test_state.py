"""The lock that only one supervisor holds, and what stack.json says."""

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from stack.services import check_port
from stack.state import (
    AlreadyRunning,
    ServiceStatus,
    StackStatus,
    created,
    find_process,
    only_supervisor,
    status,
    url,
    write_state,
)
from umbel.base.errors import StackError
from umbel.base.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def test_a_home_never_used_runs_nothing(tmp_path: Path) -> None:
    now = status(Settings(home=tmp_path / "new"))
    assert (now.running, now.ready, now.services) == (False, False, ())
    assert not (tmp_path / "new").exists(), "asking leaves no trace"


def test_what_is_written_is_read_while_the_lock_is_held(settings: Settings) -> None:
    service = ServiceStatus("api", "ready", pid=1, created=2.0, restarts=3, command=("a", "b"))
    state = StackStatus(
        str(settings.home),
        "http://x:1",
        1,
        running=True,
        ready=True,
        pid=os.getpid(),
        created=created(os.getpid()),
        services=(service,),
    )
    write_state(settings, state)
    with only_supervisor(settings.home):
        assert status(settings) == state
    assert not status(settings).running
    assert status(settings).services == ()


def test_what_a_killed_supervisor_wrote_is_not_taken_for_its_successor_s(settings: Settings) -> None:
    service = ServiceStatus("api", "ready")
    write_state(
        settings, StackStatus(str(settings.home), "", 1, ready=True, pid=os.getpid(), created=1.0, services=(service,))
    )
    with only_supervisor(settings.home):
        now = status(settings)
    assert (now.running, now.ready, now.services) == (True, False, ())


def test_a_broken_state_file_is_as_good_as_none(settings: Settings) -> None:
    (settings.home / "stack.json").write_text('{"services": [{"unknown": 1}]}')
    assert status(settings).services == ()


def test_only_one_supervisor_holds_a_home(settings: Settings) -> None:
    with (
        only_supervisor(settings.home),
        pytest.raises(AlreadyRunning, match="already running"),
        only_supervisor(settings.home),
    ):
        pass


def test_a_home_in_place_of_which_stands_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="UMBEL_HOME"), only_supervisor(tmp_path / "file"):
        pass


def test_a_process_is_known_by_number_and_creation() -> None:
    me = os.getpid()
    then = created(me)
    assert then is not None
    assert find_process(me, then) is not None
    assert find_process(me, then - 60) is None, "a stranger with the same number"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("umbel.example", "http://umbel.example:8080"),
    ],
)
def test_the_url_is_one_that_a_browser_here_can_use(host: str, expected: str) -> None:
    assert url(Settings(host=host, port=8080)) == expected


def test_a_port_in_use_names_its_setting() -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as taken,
        pytest.raises(StackError, match="UMBEL_PORT"),
    ):
        check_port(Settings(port=taken.getsockname()[1]))


def test_an_address_that_is_not_ours_names_its_setting() -> None:
    with pytest.raises(StackError, match="UMBEL_HOST"):
        check_port(Settings(host="192.0.2.1"))

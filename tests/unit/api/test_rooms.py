"""Places for requests that wait."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from api.rooms import Room
from tests.processes import eventually
from umbel.base.errors import Busy


def test_who_finds_no_place_is_told_at_once() -> None:
    room = Room(2, 0.0, "full")
    first, _ = room.take(), room.take()
    with pytest.raises(Busy, match="full"):
        room.take()
    room.leave(first)
    with room.place(), pytest.raises(Busy), room.place():
        pass
    with room.place():
        pass


def test_several_places_are_taken_at_once_and_never_more_than_there_are() -> None:
    room = Room(3, 0.0, "full")
    with room.place(2), room.place(), pytest.raises(Busy), room.place():
        pass
    with room.place(), pytest.raises(Busy), room.place(3):
        pass
    with room.place(100), pytest.raises(Busy), room.place():
        pass
    with room.place(3):
        pass


def test_a_place_that_becomes_free_goes_to_who_waits_for_it() -> None:
    room = Room(1, 60.0, "full")
    taken = room.take()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(room.take)
        eventually(lambda: room._changed._waiters)  # type: ignore[attr-defined]
        room.leave(taken)
        room.leave(waiting.result(timeout=30))


def test_nobody_waits_behind_those_who_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("api.rooms.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("threading.Condition.wait", lambda *_: pytest.fail("it waits"))
    room = Room(1, 5.0, "full")
    room.take()
    clock[0] += 5.0
    with pytest.raises(Busy):
        room.take()

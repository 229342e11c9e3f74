"""GET /v1/events from a real server: listeners get what happens, resume without a loss, and cost no thread."""

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from umbel_client import Umbel

from api import feed as feeds
from api.feed import Feed, Follower
from stack.postgres import Postgres
from stack.redis import Redis
from tests.integration.callers import make_key
from tests.integration.test_server import Api
from tests.processes import eventually
from umbel.access.keys import KeyScope, authenticate, revoke_key
from umbel.base.database import transaction
from umbel.base.notify import listener
from umbel.base.types import EventType
from umbel.events import log
from umbel.events.log import ALL, Interest

pytestmark = pytest.mark.usefixtures("database")


def happen(*numbers: int, collection: str | None = None, padding: int = 0) -> None:
    with transaction() as session:
        for number in numbers:
            data = {"number": number, "padding": "x" * padding}
            log.insert_event(session, EventType.MODEL_SWITCHED, data, collection=collection)


@contextmanager
def listening(api: Api, **query: Any) -> Iterator[Iterator[str]]:
    """The lines of a stream that has begun."""
    headers = {"Last-Event-ID": query.pop("last")} if "last" in query else {}
    with httpx.stream("GET", f"{api.url}/v1/events", params=query, headers=headers, timeout=20) as answer:
        assert answer.status_code == 200, answer.read()
        lines = answer.iter_lines()
        for line in lines:
            if not line:  # after the head
                break
        yield lines


def heard(lines: Iterator[str], count: int) -> dict[int, str]:
    """The numbers of so many events, with their ids."""
    found: dict[int, str] = {}
    position = ""
    while len(found) < count:
        line = next(lines)
        if line.startswith("id: "):
            position = line[4:]
        elif line.startswith("data: "):
            found[json.loads(line[6:])["data"]["number"]] = position
    return found


def numbers(lines: Iterator[str], count: int) -> list[int]:
    return list(heard(lines, count))


def test_what_happens_is_heard_and_resumed_after_a_break(server: Api) -> None:
    with listening(server) as lines:
        happen(1, 2)
        before = heard(lines, 2)
    happen(3)
    with listening(server, last=before[1]) as lines:
        happen(4)
        assert numbers(lines, 3) == [2, 3, 4]
    assert list(before) == [1, 2]


def test_the_client_follows_what_it_asks_for(server: Api) -> None:
    happen(1, 2, collection="garden")
    with Umbel(server.url) as api:
        kept = [event.position for event in api.events(collection="garden", after=0, follow=False)]
        happen(3, collection="meadow")
        happen(4, collection="garden")
        followed = api.events(types=["model.*"], collection="garden", after=kept[-2])
        assert [next(followed).data["number"] for _ in range(2)] == [2, 4]
        happen(5, collection="garden")
        assert next(followed).data["number"] == 5


def test_listeners_beyond_the_threads_take_none(server: Api) -> None:
    with ExitStack() as stack:
        streams = [stack.enter_context(listening(server)) for _ in range(40)]  # of two processes with 16 threads each
        assert server.answers()
        assert httpx.get(f"{server.url}/v1/jobs", timeout=5).status_code == 200
        happen(7)
        assert [numbers(lines, 1) for lines in streams] == [[7]] * 40


def test_one_that_reads_late_gets_all_and_keeps_none_waiting(server: Api) -> None:
    count = 120
    with socket.socket() as late, listening(server) as lines:
        late.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        late.connect(("127.0.0.1", server.port))
        late.sendall(b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        late.settimeout(20)
        read = late.recv(1_000)
        assert b" 200 OK" in read
        happen(*range(count), padding=20_000)
        assert numbers(lines, count) == list(range(count))
        found = read
        while b'"number":%d,' % (count - 1) not in found:
            found += late.recv(2**16)
        places = [found.find(b'"number":%d,' % number) for number in range(count)]
        assert -1 not in places
        assert places == sorted(places)


def test_a_full_house_says_so_and_streams_end_when_the_server_stops(
    postgres: Postgres, redis: Redis, tmp_path: Path
) -> None:
    api = Api(tmp_path / "log", UMBEL_EVENT_LISTENERS="1")
    with ExitStack() as stack:
        streams = []
        while True:  # each of two processes takes one
            answer = stack.enter_context(httpx.stream("GET", f"{api.url}/v1/events", timeout=20))
            if answer.status_code != 200:
                break
            streams.append(answer)
        problem = json.loads(answer.read())
        assert (answer.status_code, problem["code"]) == (503, "busy")
        assert "Retry-After" in answer.headers
        assert 1 <= len(streams) <= 2
        children = psutil.Process(api.pid).children()
        psutil.Process(api.pid).send_signal(signal.SIGTERM)
        for stream in streams:  # httpx raises where an answer is cut off
            assert b"retry: " in stream.read()
    assert psutil.wait_procs(children, timeout=10)[1] == []
    api.stop()


class FakeStream:
    """Keeps what is written to it. room: what a client has read is not counted in it."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.unsent = 0
        self.ended = threading.Event()

    def write(self, data: bytes) -> bool:
        self.parts.append(data)
        return not self.ended.is_set()

    def end(self) -> None:
        self.ended.set()

    def numbers(self) -> list[int]:
        lines = b"".join(self.parts).decode().splitlines()
        return [json.loads(line[6:])["data"]["number"] for line in lines if line.startswith("data: ")]


@pytest.fixture
def feed() -> Iterator[tuple[Feed, int]]:
    """A feed, and the position at which the test begins."""
    while True:
        with transaction() as session:
            if not log.publish_events(session):
                published = log.bounds(session)[0]
                break
    feed = Feed(transaction, listener(), most=10)
    yield feed, published
    for follower in list(feed._followers):
        feed.dismiss(follower)


def follower(interest: Interest = ALL, position: int = 0, **by: Any) -> tuple[Follower, FakeStream]:
    stream = FakeStream()
    return Follower(stream, interest, position, **by), stream  # type: ignore[arg-type]


def test_who_comes_with_an_old_id_gets_what_was_missed_in_pages(
    feed: tuple[Feed, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "PAGE", 3)
    shared, start = feed
    happen(*range(10), collection="garden")
    happen(*range(10, 15), collection="meadow")
    first, live = follower(position=start)
    shared.add(first, start)
    eventually(lambda: len(live.numbers()) == 15)
    late, stream = follower(Interest(collections=frozenset({"garden"})), start)
    shared.add(late, start)
    eventually(lambda: late.position == start + 15)
    assert stream.numbers() == list(range(10))
    happen(15, collection="garden")
    eventually(lambda: stream.numbers() == [*range(10), 15])


def test_one_that_does_not_read_is_written_no_more(feed: tuple[Feed, int]) -> None:
    shared, start = feed
    slow, stream = follower(position=start)
    stream.unsent = feeds.UNREAD + 1
    quick, other = follower(position=start)
    shared.add(slow, start)
    shared.add(quick, start)
    happen(1, 2)
    eventually(lambda: other.numbers() == [1, 2])
    assert stream.parts == []
    stream.unsent = 0
    eventually(lambda: stream.numbers() == [1, 2])


def test_a_revoked_key_hears_nothing_more(feed: tuple[Feed, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "HEARTBEAT_SECONDS", 0.0)
    shared, start = feed
    text = make_key(KeyScope.READ)
    with transaction() as session:
        key = authenticate(session, text)
    kept, other = follower(position=start)
    revoked, stream = follower(position=start, key_id=key.id)
    shared.add(kept, start)
    shared.add(revoked, start)
    happen(1)
    eventually(lambda: stream.numbers() == [1])
    with transaction() as session:
        revoke_key(session, key.prefix, actor="test")
    assert stream.ended.wait(10)
    assert not other.ended.is_set()

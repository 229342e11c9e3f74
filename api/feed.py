"""Events for those that listen: one thread and one LISTEN connection of a process serve all of its listeners.

A listener gets what it can take: while it has not read what was written, nothing more is, and it goes on later from
its position. One that reads nothing for a while loses its connection (api/channel.py) and resumes by Last-Event-ID.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from uuid import UUID

import structlog

from api.channel import Stream
from umbel.access.keys import list_valid_keys
from umbel.access.sessions import list_open_sessions
from umbel.base.database import Transaction, transaction
from umbel.base.errors import Busy, UmbelError
from umbel.base.metrics import LISTENERS
from umbel.base.notify import EVENTS, LOOK_SECONDS, Listener, listener
from umbel.base.settings import settings
from umbel.events.log import Event, Interest, publish_events, read_events

log = structlog.get_logger()

HEARTBEAT_SECONDS = 15.0  # proxies close connections on which nothing comes for a minute
PAUSE_SECONDS = 0.1  # before more is written to one that is behind
RECENT = 256  # events that are kept in memory for those that listen
PAGE = 100  # are read, or written, at a time
UNREAD = 2**18  # bytes that wait for a client, beyond which it gets no more
MISSED = "events.missed"  # some were removed before they could be sent


@dataclass(eq=False, slots=True)
class Follower:
    """A listener. position: of the last event that it got, or that is none of its interest.

    key_id, session_hash: by what it was let in; None: without a key, or without a browser's session.
    """

    stream: Stream
    interest: Interest
    position: int
    key_id: UUID | None = None
    session_hash: bytes | None = None
    written_at: float = field(default_factory=time.monotonic)

    def write(self, data: bytes) -> bool:
        """False if the client is gone."""
        self.written_at = time.monotonic()
        return self.stream.write(data)


class Feed:
    """All listeners of a process. Any thread may use it."""

    def __init__(self, transaction: Transaction, notifications: Listener, most: int) -> None:
        self._transaction, self._notifications, self._most = transaction, notifications, most
        self._lock = threading.Lock()
        self._followers: set[Follower] = set()
        self._coming = threading.Event()  # set to look at once
        self._thread: threading.Thread | None = None
        self._recent: deque[tuple[Event, bytes]] = deque(maxlen=RECENT)
        self._position = 0  # of the last event that was read

    def check_room(self) -> None:
        """Raises Busy if there are as many listeners as may be."""
        if len(self._followers) >= self._most:
            raise Busy(f"As many listeners as may follow events do so: {self._most} (UMBEL_EVENT_LISTENERS).")

    def add(self, follower: Follower, published: int) -> None:
        """Send events to a listener from now on. published: the last position when it came."""
        with self._lock:
            self._followers.add(follower)
            LISTENERS.set(len(self._followers))
            if self._thread is None:
                self._position = published
                self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                self._thread.start()
            self._coming.set()

    def dismiss(self, follower: Follower) -> None:
        """End a listener. Twice is harmless."""
        with self._lock:
            self._followers.discard(follower)
            LISTENERS.set(len(self._followers))
        follower.stream.end()

    def _run(self) -> None:
        behind = False
        checked = time.monotonic()
        with self._notifications.expecting(EVENTS) as written:
            # One event for both: what is written, and who comes.
            self._coming = written
            written.set()
            while True:
                written.wait(PAUSE_SECONDS if behind else LOOK_SECONDS)
                written.clear()
                with self._lock:
                    followers = list(self._followers)
                    if not followers:
                        self._thread = None
                        self._recent.clear()
                        return
                with self._surviving():
                    self._read()
                with self._surviving():
                    if time.monotonic() - checked > HEARTBEAT_SECONDS:
                        self._dismiss_revoked(followers)
                        checked = time.monotonic()
                served = [self._serve(follower) for follower in followers]
                behind = not all(served)

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Whatever goes wrong is logged and tried again at the next look: nothing else would serve the listeners."""
        try:
            yield
        except UmbelError as error:
            log.warning("listeners wait for the database", error=error.detail)
        except Exception:
            log.exception("listeners could not be served")

    def _read(self) -> None:
        """Publish what was written, and read what is new. Raises NotReady, TransientError."""
        while True:
            with self._transaction() as session:
                publish_events(session)
                fresh = read_events(session, Interest(), after=self._position, limit=PAGE)
            self._recent += [(event, as_message(event)) for event in fresh]
            if fresh:
                self._position = fresh[-1].position
            if len(fresh) < PAGE:
                return

    def _serve(self, follower: Follower) -> bool:
        """Write what a listener can take. False if there is more for it."""
        alive = True
        with self._surviving():
            alive = self._catch_up(follower)
        if alive and time.monotonic() - follower.written_at > HEARTBEAT_SECONDS:
            # A client keeps an id also of a message without data, and resumes after what was none of its interest.
            alive = follower.write(f": still here\nid: {follower.position}\n\n".encode())
        if not alive:
            self.dismiss(follower)
        return not alive or follower.position >= self._position

    def _catch_up(self, follower: Follower) -> bool:
        """Raises NotReady, TransientError. False if the client is gone."""
        while follower.position < self._position and follower.stream.unsent <= UNREAD:
            messages, until = self._after(follower)
            if messages and not follower.write(b"".join(messages)):
                return False
            follower.position = until
        return True

    def _after(self, follower: Follower) -> tuple[list[bytes], int]:
        """The next messages for a listener, and the position that it has reached with them."""
        if self._recent and self._recent[0][0].position <= follower.position + 1:
            newer = list(takewhile(lambda one: one[0].position > follower.position, reversed(self._recent)))
            some = newer[: -PAGE - 1 : -1]
            return [message for event, message in some if follower.interest.includes(event)], some[-1][0].position
        with self._transaction() as session:
            found = read_events(session, follower.interest, after=follower.position, until=self._position, limit=PAGE)
        until = found[-1].position if len(found) == PAGE else self._position
        return [as_message(event) for event in found], until

    def _dismiss_revoked(self, followers: list[Follower]) -> None:
        """End those whose key was revoked or has expired, or whose browser was signed out. Raises NotReady."""
        keys = {each.key_id for each in followers if each.key_id is not None}
        hashes = {each.session_hash for each in followers if each.session_hash is not None}
        with self._transaction() as session:
            valid, open_ = list_valid_keys(session, keys), list_open_sessions(session, hashes)
        for each in followers:
            if (each.key_id is not None and each.key_id not in valid) or (
                each.session_hash is not None and each.session_hash not in open_
            ):
                self.dismiss(each)


def as_message(event: Event) -> bytes:
    """As a server-sent event. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html"""
    body = json.dumps(event.body, separators=(",", ":"))
    return f"id: {event.position}\nevent: {event.type}\ndata: {body}\n\n".encode()


def missed_message(after: int, pruned: int) -> bytes:
    """Says that the events up to a position were removed before the listener came."""
    body = json.dumps({"type": MISSED, "data": {"after": after, "first": pruned + 1}}, separators=(",", ":"))
    return f"id: {pruned}\nevent: {MISSED}\ndata: {body}\n\n".encode()


@cache
def feed() -> Feed:
    """The feed of this process."""
    return Feed(transaction, listener(), settings().event_listeners)

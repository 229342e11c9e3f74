"""Waiting for something to happen in the database, without asking again and again."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import psycopg

from umbel.base.database import CONNECTION, direct_engine

CHANNEL = "umbel"
QUERIES_WAIT = "queries wait"  # pictures to search by are there
EVENTS = "events"  # some were written, and wait to be published
RETRY_SECONDS = 1.0
# Waiting threads look for themselves this often, should a notification be lost with its connection.
LOOK_SECONDS = 1.0


class Listener:
    """One connection a process that listens on the channel, and the threads that wait for its messages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, set[threading.Event]] = defaultdict(set)
        self._thread: threading.Thread | None = None

    @contextmanager
    def expecting(self, message: str) -> Iterator[threading.Event]:
        """An event that is set when `message` arrives. Enter before looking at the state, or it may be missed."""
        event = threading.Event()
        with self._lock:
            self._waiting[message].add(event)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._listen, name="listener", daemon=True)
                self._thread.start()
        try:
            yield event
        finally:
            with self._lock:
                self._waiting[message].discard(event)
                if not self._waiting[message]:
                    del self._waiting[message]

    def _listen(self) -> None:
        while True:
            with suppress(psycopg.Error, OSError):
                self._receive()
            threading.Event().wait(RETRY_SECONDS)

    def _receive(self) -> None:
        """Listen to Postgres until the connection ends, and set the events that wait for what is heard."""
        arguments, keywords = direct_engine().dialect.create_connect_args(direct_engine().url)
        with psycopg.connect(*arguments, **{**CONNECTION, **keywords}, autocommit=True) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            for notification in connection.notifies():
                with self._lock:
                    for event in self._waiting.get(notification.payload, ()):
                        event.set()


@cache
def listener() -> Listener:
    """The listener of this process."""
    return Listener()

"""Requests that wait for workers or decoders hold a thread each. No kind of them has places for all threads."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from umbel.base.errors import Busy
from umbel.base.settings import settings


class Room:
    """Places for requests that wait for one thing. Any thread may use it.

    patience: seconds that a request waits for a place while places become free. Once every place has been taken for
    longer than that, a request is rejected at once.
    """

    def __init__(self, places: int, patience: float, busy: str) -> None:
        self._places, self._patience, self._busy = places, patience, busy
        self._since: dict[object, float] = {}  # the oldest first
        self._held: dict[object, int] = {}
        self._changed = threading.Condition()

    def take(self, places: int = 1) -> object:
        """A place, or several at once, but never more than there are; to be given to `leave`. Raises Busy."""
        places = min(places, self._places)
        until = time.monotonic() + self._patience
        with self._changed:
            while sum(self._held.values()) + places > self._places:
                now = time.monotonic()
                if now >= until or now - next(iter(self._since.values())) >= self._patience:
                    raise Busy(self._busy)
                self._changed.wait(until - now)
            place = object()
            self._since[place] = time.monotonic()
            self._held[place] = places
            return place

    def leave(self, place: object) -> None:
        with self._changed:
            del self._since[place], self._held[place]
            self._changed.notify_all()  # one that waits for several may have to go on waiting

    @contextmanager
    def place(self, places: int = 1) -> Iterator[None]:
        """A place, or several, while this lasts. Raises Busy."""
        taken = self.take(places)
        try:
            yield
        finally:
            self.leave(taken)


@cache
def searches() -> Room:
    """For searches by pictures, which workers embed."""
    return Room(_share(3, 8), 1.0, "As many searches as may wait for a worker do so.")


@cache
def decodes() -> Room:
    """For images that wait for a decoder of this process, or until another request has made the same."""
    return Room(_share(1, 4), 5.0, "As many images as may wait for a decoder do so.")


@cache
def large_decodes() -> Room:
    """For the same of large images, of which the machine decodes one at a time to show it."""
    return Room(_share(1, 2), 0.0, "As many large images as may wait for a decoder do so.")


@cache
def transfers() -> Room:
    """For files of vectors, out or in, which hold a thread for as long as they take."""
    return Room(_share(1, 4), 0.0, "As many exports and imports of vectors as may run at a time do so.")


@cache
def fetches() -> Room:
    """For uploads by URL, which wait for other servers."""
    return Room(_share(1, 4), 1.0, "As many images as may be fetched from URLs at a time are.")


@cache
def graphs() -> Room:
    """For what is computed of all stored neighbors while the request waits: duplicates by limits of their own, say."""
    return Room(_share(1, 8), 1.0, "As many requests that compute with all neighbors as may run at a time do so.")


@cache
def followers() -> Room:
    """For requests that wait for a job to finish."""
    return Room(_share(1, 4), 0.0, "As many requests as may wait for a job do so.")


def _share(part: int, of: int) -> int:
    return max(1, settings().api_threads * part // of)

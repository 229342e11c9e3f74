"""Whether a process, or one of its handlers, gets anything done: noted where items get on, asked for at heartbeats."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Any thread notes; one asks."""

    def __init__(self) -> None:
        self._noted = threading.Event()
        self._last = time.monotonic()
        self._working = 0
        self._lock = threading.Lock()

    def note(self) -> None:
        """Something was finished just now."""
        self._last = time.monotonic()
        self._noted.set()

    def begin(self) -> None:
        """Work is at hand from now on; until `end`, it ought to get on."""
        with self._lock:
            self._last = self._last if self._working else time.monotonic()
            self._working += 1

    def end(self) -> None:
        with self._lock:
            self._working -= 1

    @contextmanager
    def working(self) -> Iterator[None]:
        """From `begin` to `end`."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def silent_seconds(self) -> float:
        """Since when work is at hand and nothing gets on; 0 where there is none."""
        with self._lock:
            return time.monotonic() - self._last if self._working else 0.0

    def since_asked(self) -> bool:
        """Whether anything was noted since the last time this was asked."""
        noted = self._noted.is_set()
        self._noted.clear()
        return noted


progress = Progress()

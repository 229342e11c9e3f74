"""Work that many threads ask for, and one at a time does."""

import threading
from collections.abc import Callable


class OneAtATime:
    """Runs a piece of work in at most one thread; a call meanwhile makes that thread run it once more."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._busy = threading.Lock()
        self._asked = False

    def run(self) -> None:
        self._asked = True
        while self._asked and self._busy.acquire(blocking=False):
            try:
                self._asked = False
                self._work()
            finally:
                self._busy.release()

    def wait(self) -> None:
        """Until no thread runs it."""
        with self._busy:
            pass

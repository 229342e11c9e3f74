"""Where the next claim in a queue begins.

Entries of what was claimed or finished stay in the index for as long as any snapshot is older, hours while a dump is
made. A claim that began at the first would read all of them again, so the next begins after what the last one took.
What is before that, since it was released or committed late, is found by a claim from the first on. As soon as those
take long, they may take a twentieth of the time.
"""

import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

FIRST = (0, 0, UUID(int=0))
QUICK_SECONDS = 0.05  # a claim from the first on that takes no longer is made each time
SHARE = 20  # of the time may be spent on those that take longer: one in so many


@dataclass(slots=True)
class Position:
    """after: (attempts, retries, id) of the last item, in the order of the index."""

    after: tuple[int, int, UUID] = FIRST
    _from_first: list[float] = field(default_factory=list)  # seconds that the last ones took
    _next: float = float("-inf")

    @contextmanager
    def begin(self) -> Iterator["Position"]:
        """One claim, which begins at `after` and sets it."""
        began, all_of_it = time.monotonic(), time.monotonic() >= self._next
        if all_of_it:
            self.after = FIRST
        yield self
        if all_of_it:
            ended = time.monotonic()
            self._from_first = [*self._from_first[-1:], ended - began]
            cost = min(self._from_first)  # of two: one alone may have waited for something else
            self._next = ended + SHARE * cost if cost > QUICK_SECONDS else ended


class Positions:
    """Those of one handler, a position for each of its queues and ways to claim."""

    def __init__(self) -> None:
        self._positions: dict[Hashable, Position] = {}

    def of(self, *key: Hashable) -> Position:
        return self._positions.setdefault(key, Position())

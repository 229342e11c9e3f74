"""Saying no in time: beyond a depth of the queue, more work would only be older when its turn comes."""

import time
from functools import cache

from umbel.base.database import Transaction, transaction
from umbel.base.errors import QueueFull
from umbel.base.settings import Settings, settings
from umbel.jobs import claims

LOOK_SECONDS = 1.0


class Gate:
    """Lets work in while fewer than `max_pending` items wait; looks at most once a second."""

    def __init__(self, transaction: Transaction, settings: Settings) -> None:
        self._transaction, self._most = transaction, settings.max_pending
        self._open = True
        self._looked = float("-inf")

    def enter(self) -> None:
        """Raises QueueFull."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            with self._transaction() as session:
                self._open = claims.count_pending(session) < self._most
        if not self._open:
            raise QueueFull(f"{self._most:,} pictures wait to be embedded already; come back later.")


@cache
def gate() -> Gate:
    """The gate of this process."""
    return Gate(transaction, settings())

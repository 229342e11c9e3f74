"""The short way of an import's pictures: what was read and decoded goes to the model of the same process.

The ledger has each of them by then, reserved for this process by a lease, and the blob store its bytes: what is lost
here, with the process or for lack of room, is claimed by anyone and decoded from its bytes, as if there were no short
way. An attempt is counted when the model takes it, so that waiting here costs none.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from umbel.base.types import Decoder, Pixels
from umbel.jobs.claims import ClaimedItem
from umbel.jobs.leases import Leases

FULL = 128  # pictures that wait, from which on readers wait too: the model has enough for some batches
MOST_BYTES = 64 * 2**20  # of pixels that may wait, since what is being read when it is full still comes
PATIENCE_SECONDS = 10.0  # that readers wait for a model that does other things first


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedItem(ClaimedItem):
    """An item with what `decoder` made of its image."""

    decoder: Decoder
    pixels: Pixels


@dataclass
class Handoff:
    """Between the readers of a process and its EmbeddingHandler. Any thread may use it.

    leases: the embedding side's. wake: called when there is something to take. decoder: of the version that the model
    side embedded with last, whose pixels it can use; None until it has.
    """

    leases: Leases
    wake: Callable[[], object]
    decoder: Decoder | None = None
    _items: deque[HandedItem] = field(default_factory=deque)
    _bytes: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def room(self) -> int:
        """Bytes of pixels for which there is room."""
        with self._changed:
            return MOST_BYTES - self._bytes

    def wait_until_wanted(self, stopping: Callable[[], bool]) -> None:
        """Until few are left to be taken; no longer than PATIENCE_SECONDS."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < FULL or stopping(), PATIENCE_SECONDS)

    def put(self, items: Sequence[HandedItem]) -> None:
        """Hand over items that are reserved for this process."""
        self.leases.hold(item.id for item in items)
        with self._changed:
            self._items += items
            self._bytes += sum(item.pixels.nbytes for item in items)
        self.wake()

    def take(self, limit: int) -> list[HandedItem]:
        """The oldest, at most `limit`."""
        with self._changed:
            taken = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
            self._bytes -= sum(item.pixels.nbytes for item in taken)
            self._changed.notify_all()
        return taken

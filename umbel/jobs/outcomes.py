"""What becomes of claimed items that are not done: they fail, or are tried again. All handlers retry alike.

What is not an item's fault, such as an outage, counts no attempt: the item is tried again for as long as it takes.
"""

import time
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from umbel.base.errors import DecoderDied, NotReady, SourceUnreachable, TransientError, UmbelError, Unreachable
from umbel.base.settings import Settings
from umbel.base.types import Queue
from umbel.jobs import claims, items, job_log
from umbel.jobs.claims import RETRY_SECONDS, Claimed

log = structlog.get_logger()

T = TypeVar("T")

PATIENCE_SECONDS = 45.0  # below the lease of what is stored
PAUSE_SECONDS = 0.5


@dataclass(slots=True)
class Outcomes:
    """Of items of one queue. failed: {item: (code, detail)}."""

    queue: Queue
    settings: Settings
    failed: dict[UUID, tuple[str, str]] = field(default_factory=dict)
    _released: dict[UUID, float] = field(default_factory=dict)  # {item: seconds before it is tried again}
    _counted: list[UUID] = field(default_factory=list)  # tried again, with one attempt less before them

    def __iter__(self) -> Iterator[UUID]:
        return iter([*self.failed, *self._released, *self._counted])

    def take(self, item: Claimed, error: Exception) -> None:
        """What comes of an item whose work raised `error`: an outage is waited for, a bad image fails at once.

        The rest are errors that the image may have caused, such as the death of its decoder.
        """
        match error:
            case Unreachable() if item.retries + 1 >= self.settings.url_tries:
                self.failed[item.id] = (error.code, f"Given up after {item.retries + 1} tries. {error.detail}")
            case NotReady() | TransientError():
                if not (
                    item.retries or isinstance(error, SourceUnreachable)
                ):  # told once: a source that is away for long has many items, tried each minute
                    job_log.retried(self.queue, item, error.detail)
                self.release([item.id])
            case UmbelError() if not isinstance(error, DecoderDied):
                self.fail(item.id, error)
            case _:
                self.count_attempt(item, str(error))

    def fail(self, item: UUID, error: UmbelError) -> None:
        self.failed[item] = (error.code, error.detail)

    def release(self, items: Iterable[UUID], *, delay_seconds: float = RETRY_SECONDS) -> None:
        """Try items again that are not at fault: no attempt is counted, and the delay doubles each time."""
        self._released |= dict.fromkeys(items, delay_seconds)

    def count_attempt(self, item: Claimed, reason: str) -> None:
        """Try an item again that may be at fault; the last of its attempts fails it."""
        if item.attempts < self.settings.max_attempts:
            job_log.retried(self.queue, item, reason)
            self._counted.append(item.id)
        else:
            self.failed[item.id] = (DecoderDied.code, f"Given up after {item.attempts} attempts. {reason}")

    def add(self, other: "Outcomes") -> None:
        self.failed |= other.failed
        self._released |= other._released
        self._counted += other._counted

    def store(self, session: Session, owner: str, *, among: Container[UUID] | None = None) -> None:
        """Write them down in the ledger, whose items are locked. among: what may still fail; None: all."""
        failed = {item: error for item, error in self.failed.items() if among is None or item in among}
        items.fail_items(session, failed)
        for delay in set(self._released.values()):
            some = [item for item, seconds in self._released.items() if seconds == delay]
            claims.release_items(session, some, owner=owner, delay_seconds=delay)
        claims.release_items(session, self._counted, owner=owner, delay_seconds=0, count_attempt=True)


def retry_transient(store: Callable[[], T]) -> T:
    """What `store`, a whole transaction, returns; tried again while the database is away or others are in its way."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return store()
        except (NotReady, TransientError) as error:
            if time.monotonic() > deadline:
                raise
            log.warning("storing waits", error=error.detail)
            time.sleep(PAUSE_SECONDS)

"""Which source each reader of a worker process is at: all get their turns, so that no slow one keeps others waiting."""

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from umbel.base.database import Transaction
from umbel.imports import source_rows


@dataclass
class Turns:
    """Shared by the readers of a process. most_failing: readers that may be at sources that could not be reached."""

    transaction: Transaction
    most_failing: int = 1
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _taken: dict[UUID, bool] = field(default_factory=dict)  # by readers now, and whether it could not be reached
    _ended: dict[UUID, float] = field(default_factory=dict)  # when the last turn of each source ended

    @contextmanager
    def take(self, besides: Collection[UUID]) -> Iterator[UUID | None]:
        """The job whose source has waited longest for its turn, none of `besides`; None if there is nothing to do.

        No other reader of this process is at it while this lasts. Raises NotReady, TransientError.
        """
        job_id = self._next(besides)
        try:
            yield job_id
        finally:
            with self._lock:
                if job_id is not None:
                    del self._taken[job_id]
                    self._ended[job_id] = time.monotonic()

    def _next(self, besides: Collection[UUID]) -> UUID | None:
        with self._lock:
            with self.transaction() as session:
                ready = source_rows.list_ready(session, besides=[*self._taken, *besides])
            if not ready and not self._taken:
                self._ended.clear()
            wary = sum(self._taken.values()) >= self.most_failing
            waiting = [row for row in ready if not (row.failing and wary)]
            if not waiting:
                return None
            job_id: UUID
            job_id, failing = min(waiting, key=lambda row: self._ended.get(row.job_id, 0.0))
            self._taken[job_id] = failing
            return job_id

"""Knowing when this process can get nothing more done, and ending it: whoever supervises it starts another."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from enum import IntEnum

import structlog

from ml.lost_device import device_lost
from umbel.base.database import Transaction
from umbel.base.settings import Settings
from umbel.base.types import Queue
from umbel.operations.maintenance import list_waiting_queues

log = structlog.get_logger()


class Exit(IntEnum):
    """Exit statuses of a worker that gave itself up, from sysexits(3)."""

    BROKER_TIMEOUT = 69  # work waits, and Redis brings no word of it
    MODEL_FAILS = 70  # batch after batch, whatever the pictures
    DEVICE_LOST = 71  # an error of CUDA, which stays until the process ends


class Watchdog:
    """Hears how the process does, and ends it when it can do no more.

    leave: ends the process with an exit status, having put down in order what it can in a few seconds.
    """

    def __init__(
        self, transaction: Transaction, settings: Settings, queues: Sequence[Queue], leave: Callable[[Exit], None]
    ) -> None:
        self._transaction, self._settings, self._queues, self._leave = transaction, settings, queues, leave
        self._heard = threading.Event()
        self._unheard_since: float | None = None
        self._failed_batches = 0
        self._ending = threading.Lock()

    def heard(self, **_: object) -> None:
        """A ring came through Redis."""
        self._heard.set()

    def fatal(self, error: Exception) -> bool:
        """Whether the process itself is at an end, rather than what it was just working on."""
        if not device_lost(error):
            return False
        self._end(Exit.DEVICE_LOST, str(error).splitlines()[0])
        return True

    def forwarded(self, some: bool) -> None:
        """The model was through with a batch. some: it made a vector of one picture at least.

        An item's last attempt had better be made by another process, which tells the picture's fault from ours.
        """
        self._failed_batches = 0 if some else self._failed_batches + 1
        if self._failed_batches >= self._settings.max_failed_batches:
            self._end(Exit.MODEL_FAILS, f"{self._failed_batches} batches in a row gave no vector")

    def look(self, *, progressed: bool) -> None:
        """To be called at each heartbeat. Raises NotReady without a database, which alone is no reason to end."""
        heard = self._heard.is_set()
        self._heard.clear()
        if heard or progressed or not self._work_waits():
            self._unheard_since = None
            return
        now = time.monotonic()
        self._unheard_since = self._unheard_since or now
        if now - self._unheard_since >= self._settings.broker_timeout:
            self._end(Exit.BROKER_TIMEOUT, f"work has waited for {now - self._unheard_since:.0f} s, and nobody rang")

    def _work_waits(self) -> bool:
        with self._transaction() as session:
            return not set(self._queues).isdisjoint(list_waiting_queues(session))

    def _end(self, status: Exit, reason: str) -> None:
        if self._ending.acquire(blocking=False):  # once, and by a thread that nobody waits for
            log.critical("worker gives up", reason=reason, exit_status=int(status), why=status.name.lower())
            threading.Thread(target=self._leave, args=[status], name="leaving", daemon=True).start()


def end_process(status: Exit) -> None:
    """At once: threads may hang in what made us give up. What is leased is taken up by others, as after a kill."""
    os._exit(status)

"""Ends a worker process that can do no more work; its supervisor starts another."""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from enum import IntEnum

import structlog

from umbel.base.database import Transaction
from umbel.base.progress import Progress
from umbel.base.settings import Settings
from umbel.base.types import Queue
from umbel.operations.maintenance import list_waiting_queues

log = structlog.get_logger()

# What errors of CUDA say, and those of them after which fewer images at once may still fit.
CUDA_ERRORS = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "cuDNN error")
OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED")


class Exit(IntEnum):
    """Exit statuses of a worker that gives up, from sysexits(3)."""

    BROKER_TIMEOUT = 69  # work waits, and no wake-up comes through Redis
    MODEL_FAILS = 70  # on batch after batch
    DEVICE_LOST = 71  # an error of CUDA, which stays until the process ends
    OUT_OF_MEMORY = 72  # where no work can fail for it: a thread did not begin
    CELERY_FAILED = 74  # for an error that it gives up at, such as a command that Redis refuses
    HANGS = 75  # a batch, such as a forward that does not return; the next process tries its items again


class Watchdog:
    """Is told what happens in the process, and ends it when it can do no more work.

    leave: returns unfinished work within a few seconds and ends the process with an exit status.
    """

    def __init__(
        self, transaction: Transaction, settings: Settings, queues: Sequence[Queue], leave: Callable[[Exit], None]
    ) -> None:
        self._transaction, self._settings, self._queues, self._leave = transaction, settings, queues, leave
        self._heard = threading.Event()
        self._silent_since: float | None = None
        self._failed_batches = 0
        self._watched: dict[str, Progress] = {}
        self._ending = threading.Lock()

    def watch(self, name: str, progress: Progress) -> None:
        """End the process should this handler's work not get on, whatever the others do."""
        self._watched[name] = progress

    def heard(self, **_: object) -> None:
        """A wake-up came through Redis."""
        self._heard.set()

    def fatal(self, error: Exception) -> bool:
        """Whether an error is the process's own, which then ends, rather than that of its current work."""
        if not device_lost(error):
            return False
        self._end(Exit.DEVICE_LOST, str(error).splitlines()[0])
        return True

    def forwarded(self, some: bool) -> None:
        """The model has finished a batch. some: it made at least one vector.

        A fresh process then tries the items again, which shows whether the images or this process are at fault.
        """
        self._failed_batches = 0 if some else self._failed_batches + 1
        if self._failed_batches >= self._settings.max_failed_batches:
            self._end(Exit.MODEL_FAILS, f"{self._failed_batches} batches in a row gave no vector")

    def look(self, *, progressed: bool) -> None:
        """Check at a heartbeat. Raises NotReady without a database, which alone is no reason to end."""
        for name, progress in self._watched.items():
            if (silent := progress.silent_seconds()) >= self._settings.hang_seconds:
                self._end(Exit.HANGS, f"{name} has got no further for {silent:.0f} s")
        heard = self._heard.is_set()
        self._heard.clear()
        if heard or progressed or not self._work_waits():
            self._silent_since = None
            return
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        if now - self._silent_since >= self._settings.broker_timeout:
            self._end(Exit.BROKER_TIMEOUT, f"work has waited for {now - self._silent_since:.0f} s without a wake-up")

    def _work_waits(self) -> bool:
        with self._transaction() as session:
            return not set(self._queues).isdisjoint(list_waiting_queues(session))

    def _end(self, status: Exit, reason: str) -> None:
        if self._ending.acquire(blocking=False):  # once, on a thread of its own
            log.critical("worker gives up", reason=reason, exit_status=int(status), why=status.name.lower())
            threading.Thread(target=self._leave, args=[status], name="leaving", daemon=True).start()


def end_process(status: Exit) -> None:
    """End without waiting for threads, which may hang. Leases run out and other workers take the items over."""
    os._exit(status)


def end_without_memory() -> None:
    """End this process from now on when a thread has no memory to begin.

    The thread that started it waits for ever then, with the locks that it holds: CPython's Thread.start() waits for a
    sign from the new thread, which that never gives. Other lack of memory fails the work it comes from.
    """
    former = sys.unraisablehook

    def look(unraisable: "sys.UnraisableHookArgs") -> None:
        if unraisable.exc_type is MemoryError and "thread started" in (unraisable.err_msg or ""):
            os.write(2, b"worker gives up: there is no memory for another thread\n")  # what logs needs memory
            end_process(Exit.OUT_OF_MEMORY)
        former(unraisable)

    sys.unraisablehook = look


def device_lost(error: BaseException) -> bool:
    """Whether the device will compute nothing more for this process.

    An error of CUDA stays with its context: every later call fails, until another process makes a new context. An
    error for lack of memory does not: fewer images at once may fit.
    """
    text = str(error)
    if any(sign in text for sign in OUT_OF_MEMORY):
        return False
    # torch.AcceleratorError, by its name: a worker on another runtime never loads torch.
    return type(error).__name__ == "AcceleratorError" or any(sign in text for sign in CUDA_ERRORS)

"""What one worker process holds: the model, loaded once and never before a fork, and its place in the ledger."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from celery import signals
from celery.apps.worker import Worker
from sqlalchemy.orm import Session

from umbel.base.database import transaction
from umbel.base.errors import NotReady, TransientError
from umbel.base.notify import EVENTS, QUERIES_WAIT, listener
from umbel.base.progress import progress
from umbel.base.settings import Settings
from umbel.base.types import Decoder, Models, Queue
from umbel.events import deliveries
from umbel.imports.fetching import TURNS_AT_ONCE
from umbel.jobs import claims, workers
from umbel.jobs.wakeup import waker
from worker.app import celery
from worker.handlers import Handlers, try_to_work
from worker.watchdog import Exit, Watchdog, end_process, end_without_memory

log = structlog.get_logger()

HEARTBEAT_SECONDS = 5.0
BEATS_A_LEASE = 6  # at least, where leases are short: they are renewed at heartbeats
HEARD = {Queue.QUERY: QUERIES_WAIT, Queue.EVENTS: EVENTS}  # what Postgres itself tells of
LEAVE_SECONDS = 10.0  # for a process that gives up to put its work back
# One thread embeds items however often it is woken, some read sources, one may build an index, one compares, one may
# be at a reindex, one deletes, one cleans up, one waits for a map, one settles what was asked of jobs; the others keep
# searches and the sweep from waiting for them.
THREADS = 11 + TURNS_AT_ONCE


class CeleryWorker(Worker):
    """Celery's worker, which tells when it stops, also for an error; Celery's signal comes for SIGTERM and Ctrl-C only.

    Celery stops for good where Redis refuses a command, as it does on a full disk, and waits for its threads. They
    would go on as long as there is work, and hear of nothing new.
    """

    def __init__(self, *, stopping: Callable[[], None], **options: Any) -> None:
        self._tell = stopping
        super().__init__(**options)

    def stop(self, in_sighandler: bool = False, exitcode: int | None = None) -> None:
        self._tell()
        super().stop(in_sighandler=in_sighandler, exitcode=exitcode)


class WorkerProcess:
    """A worker process: does what it is woken for, with the models that it holds."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        decoder: Decoder,
        *,
        name: str,
        queues: Sequence[Queue],
        device: str,
    ) -> None:
        self.name = name
        self.queues = queues
        self._settings = settings
        self._stopping = threading.Event()
        self._device = device
        self._status = 0  # to exit with
        self._watchdog = Watchdog(transaction, settings, queues, self._leave)
        self._handlers = Handlers(
            settings, models, decoder, self._watchdog, name=name, queues=queues, stopping=self._stopping.is_set
        )

    def work(self, queue: Queue) -> None:
        """Do all that waits in `queue`. Raises NotReady, TransientError."""
        self._handlers.work(queue)

    def run(self) -> int:
        """Serve until told to stop; the batch in hand is finished first. Returns the exit status."""
        end_without_memory()
        signals.worker_shutting_down.connect(self._stop, weak=False)
        signals.task_prerun.connect(self._watchdog.heard, weak=False)
        self._introduce()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        for queue, message in HEARD.items():
            if queue in self.queues:
                threading.Thread(target=self._hear, args=[queue, message], name=queue, daemon=True).start()
        worker = CeleryWorker(
            stopping=self._celery_stops,
            app=celery,
            hostname=self.name,
            pool="threads",  # no fork after the model is loaded; torch and Pillow let go of the GIL where it matters
            concurrency=THREADS,
            queues=[str(queue) for queue in self.queues],
            include=["worker.tasks"],
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        worker.start()
        return self._status

    def _introduce(self) -> None:
        """Take our place; the leases of our former self, which is gone, end now rather than in a minute."""
        with transaction() as session:
            self._write_down(session)
            released = claims.release_items_of(session, self.name)
            deliveries.release_webhooks_of(session, self.name)
        log.info("worker ready", name=self.name, device=self._device, released=released)
        for queue in self.queues:
            if queue != Queue.MAINTENANCE:
                waker().wake(queue)

    def _write_down(self, session: Session) -> None:
        workers.upsert_worker(session, self.name, queues=",".join(self.queues), device=self._device)

    def _beat(self) -> None:
        pause = min(HEARTBEAT_SECONDS, self._settings.lease_seconds / BEATS_A_LEASE)
        while not self._stopping.wait(pause):
            try:
                hears, progressed = waker().ping(), progress.since_asked()
                with transaction() as session:
                    known = workers.touch_worker(session, self.name, progressed=progressed, broker_connected=hears)
                    if not (known or self._stopping.is_set()):  # woken from a sleep so long that it was forgotten
                        self._write_down(session)
                self._handlers.renew_leases()
                self._watchdog.look(progressed=progressed)
            except (NotReady, TransientError) as error:
                log.warning("no heartbeat", error=error.detail)

    def _hear(self, queue: Queue, message: str) -> None:
        """Work as soon as Postgres says that there is some: a wake-up through Redis and Celery takes longer."""
        with listener().expecting(message) as waiting:
            while not self._stopping.is_set():
                if not waiting.wait(HEARTBEAT_SECONDS):
                    continue
                waiting.clear()
                try_to_work(queue, partial(self.work, queue))

    def _stop(self, **_: object) -> None:
        self._stopping.set()
        with suppress(NotReady), transaction() as session:  # left there, the row grows old by itself
            workers.delete_worker(session, self.name)

    def _celery_stops(self) -> None:
        if not self._stopping.is_set():  # no signal came before
            self._status = Exit.CELERY_FAILED
            self._stop()

    def _leave(self, status: Exit) -> None:
        """Let the batches in hand be put back, say goodbye, and end; without either if they take too long."""
        last = threading.Timer(LEAVE_SECONDS, end_process, [status])
        last.daemon = True
        last.start()
        self._stopping.set()
        self._handlers.wait_for_embedding()
        with suppress(NotReady), transaction() as session:
            workers.delete_worker(session, self.name)
        end_process(status)


_process: WorkerProcess | None = None


def withdraw(name: str) -> None:
    """Forget a former process of this name that was killed: until a model is loaded, this one serves nothing."""
    with transaction() as session:
        workers.delete_worker(session, name)


def serve(
    settings: Settings, models: Models, decoder: Decoder, *, name: str, queues: Sequence[Queue], device: str
) -> int:
    """Serve `queues` until told to stop; device: where the models run. Returns the exit status.

    Raises NotReady without a database.
    """
    global _process  # noqa: PLW0603 - Celery calls tasks by name, so the process they run in has to be found by name
    _process = WorkerProcess(settings, models, decoder, name=name, queues=queues, device=device)
    return _process.run()


def worker_process() -> WorkerProcess:
    """The one in which this task runs."""
    if _process is None:
        raise RuntimeError("These tasks run in `umbel worker` only.")
    return _process

"""The one task: a worker is woken for a queue. Waking it twice, or for nothing, is harmless."""

import structlog

from umbel.base.errors import NotReady, TransientError
from umbel.base.types import Queue
from umbel.jobs.wakeup import TASK
from worker.app import celery
from worker.process import worker_process

log = structlog.get_logger()


@celery.task(name=TASK)
def work(queue: str) -> None:
    """Do what waits in `queue`. While the database is away that stays in the ledger, and the sweep wakes again."""
    try:
        worker_process().work(Queue(queue))
    except (NotReady, TransientError) as error:
        log.warning("left to the next sweep", queue=queue, error=error.detail)

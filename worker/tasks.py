"""Tasks: a doorbell answered, one service call. Ringing twice, or for nothing, is harmless."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from core.doorbell import doorbell
from core.errors import NotReady, TransientError
from core.settings import settings
from core.types import TaskName
from db.session import transaction
from services import jobs
from worker.app import celery
from worker.process import embedding_process

log = structlog.get_logger()


@celery.task(name=TaskName.EMBED_ITEMS)
def embed_items(lane: str) -> None:
    """Embed whatever is queued in the lanes of this worker."""
    with _patiently("embed_items"):
        embedding_process().embed_items()


@celery.task(name=TaskName.EMBED_QUERIES)
def embed_queries(lane: str) -> None:
    """Embed the pictures that searches wait for."""
    with _patiently("embed_queries"):
        embedding_process().answer_queries()


@celery.task(name=TaskName.SWEEP)
def sweep() -> None:
    """Ring for work left behind."""
    with _patiently("sweep"):
        jobs.sweep(transaction, doorbell(), settings())


@contextmanager
def _patiently(task: str) -> Iterator[None]:
    """A database that is away is no failure of a task: all is in the ledger still, and the sweep rings again."""
    try:
        yield
    except (NotReady, TransientError) as error:
        log.warning("left to the next sweep", task=task, error=error.detail)

"""Tasks: a doorbell answered, one service call. Ringing twice, or for nothing, is harmless."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from umbel.base.database import transaction
from umbel.base.errors import NotReady, TransientError
from umbel.base.settings import settings
from umbel.base.types import TaskName
from umbel.jobs.wakeup import waker
from umbel.operations import maintenance
from worker.app import celery
from worker.process import worker_process

log = structlog.get_logger()


@celery.task(name=TaskName.EMBED_ITEMS)
def embed_items(queue: str) -> None:
    """Embed whatever is queued in the queues of this worker."""
    with _patiently("embed_items"):
        worker_process().embed_items()


@celery.task(name=TaskName.EMBED_QUERIES)
def embed_queries(queue: str) -> None:
    """Embed the pictures that searches wait for."""
    with _patiently("embed_queries"):
        worker_process().answer_queries()


@celery.task(name=TaskName.FETCH_ITEMS)
def fetch_items(queue: str) -> None:
    """List the sources of imports, and read what they have."""
    with _patiently("fetch_items"):
        worker_process().fetch_items()


@celery.task(name=TaskName.BUILD_INDEX)
def build_index(queue: str) -> None:
    """Build the HNSW index that a large load was spared."""
    with _patiently("build_index"):
        worker_process().build_index()


@celery.task(name=TaskName.COMPARE_ITEMS)
def compare_items(queue: str) -> None:
    """Compare pictures with their collections."""
    with _patiently("compare_items"):
        worker_process().compare_items()


@celery.task(name=TaskName.REINDEX)
def reindex(queue: str) -> None:
    """Bring a reindex as far as it goes now."""
    with _patiently("reindex"):
        worker_process().reindex()


@celery.task(name=TaskName.DELETE_ITEMS)
def delete_items(queue: str) -> None:
    """Remove what deleted collections leave, and what else is no longer needed."""
    with _patiently("delete_items"):
        worker_process().delete_items()


@celery.task(name=TaskName.DRAW_MAPS)
def draw_maps(queue: str) -> None:
    """Lay the gallery out in the plane."""
    with _patiently("draw_maps"):
        worker_process().draw_maps()


@celery.task(name=TaskName.SWEEP)
def sweep() -> None:
    """Wake workers for work left behind."""
    with _patiently("sweep"):
        maintenance.sweep(transaction, waker(), settings())


@contextmanager
def _patiently(task: str) -> Iterator[None]:
    """A database that is away is no failure of a task: all is in the ledger still, and the sweep rings again."""
    try:
        yield
    except (NotReady, TransientError) as error:
        log.warning("left to the next sweep", task=task, error=error.detail)

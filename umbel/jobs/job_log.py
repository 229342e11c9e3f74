"""The trail that items leave: log lines with the request, the job and the image they belong to.

A batch holds items of many requests. Of each job in it there is one line, so that an import of a million pictures does
not write a million; of an item that fails there is one of its own.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row

from umbel.base import tracing
from umbel.base.metrics import BATCHES, FAILURES, FINISHED, ITEM_WAITS, RETRIES, STAGES
from umbel.base.progress import progress
from umbel.base.types import Queue
from umbel.jobs.claims import Claimed, ClaimedItem

log = structlog.get_logger()

FAILED = "failed"


@contextmanager
def stage(name: str, queue: Queue, items: Sequence[Claimed], *, traced: bool = True) -> Iterator[None]:
    """Time a stage of work on claimed items; `items` may be filled while it lasts, and none is not worth telling.

    traced: it is a span in the trace of each job, too.
    """
    began = time.perf_counter()
    yield
    if not items:
        return
    seconds = time.perf_counter() - began
    STAGES.labels(name, queue).observe(seconds)
    for some in _jobs(items) if traced else ():
        if some[0].traceparent:
            tracing.record(name, some[0].traceparent, seconds, queue=queue.value, **_named(some))


def claimed(queue: Queue, items: Sequence[Claimed]) -> None:
    """Tell which items were taken up."""
    if items:
        BATCHES.labels(queue).observe(len(items))
    for item in items:
        if item.attempts == 1:
            ITEM_WAITS.labels(queue).observe(item.waited)
    for some in _jobs(items):
        log.debug("claimed", queue=queue, **_named(some))


def ended(
    event: str, queue: Queue, items: Sequence[Claimed], done: Iterable[UUID], failed: Mapping[UUID, tuple[str, str]]
) -> None:
    """Tell what became of items. event: what `done` are now; failed: {item: (code, detail)}."""
    finished = set(done)
    for some in _jobs([item for item in items if item.id in finished]):
        log.info(event, queue=queue, **_named(some))
    for item in items:
        if item.id in failed:
            code, detail = failed[item.id]
            log.warning("item failed", queue=queue, code=code, detail=detail, **_named([item]))
            FAILURES.labels(queue, code).inc()
    FINISHED.labels(queue, event).inc(len(finished))
    FINISHED.labels(queue, FAILED).inc(len(failed))
    if finished or failed:
        progress.note()


def retried(queue: Queue, item: Claimed, reason: str) -> None:
    """Tell that an item goes back into the queue, and why."""
    RETRIES.labels(queue).inc()
    log.warning("will try again", queue=queue, reason=reason, **_named([item]))


def failed_at_once(queue: Queue, error: tuple[str, str], **names: Any) -> None:
    """Tell that an item failed as it was made. error: (code, detail); names: of the request, the job and the item."""
    code, detail = error
    log.warning("item failed", queue=queue, code=code, detail=detail, **names)
    FAILURES.labels(queue, code).inc()
    FINISHED.labels(queue, FAILED).inc()


def given_up(items: Iterable[Row]) -> None:
    """Tell which items were tried too often, as `claims.fail_exhausted_items` gives them."""
    for item in items:
        named = {"request_id": item.request_id, "job_id": str(item.job_id), "item_id": str(item.id)}
        if item.image_id:
            named["image_id"] = str(item.image_id)
        failed_at_once(Queue(item.queue), (item.error_code, item.error_detail), **named)


def _jobs(items: Sequence[Claimed]) -> list[list[Claimed]]:
    """The items, those of one job together."""
    jobs: dict[UUID, list[Claimed]] = {}
    for item in items:
        jobs.setdefault(item.job_id, []).append(item)
    return list(jobs.values())


def _named(items: Sequence[Claimed]) -> dict[str, Any]:
    """What a line about these items of one job carries."""
    first = items[0]
    names: dict[str, Any] = {"request_id": first.request_id, "job_id": str(first.job_id), "images": len(items)}
    if len(items) == 1:
        names["item_id"] = str(first.id)
        if isinstance(first, ClaimedItem):
            names["image_id"] = str(first.image_id)
        if first.attempts > 1:
            names["attempt"] = first.attempts
    return names

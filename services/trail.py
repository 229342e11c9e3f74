"""The trail that items leave: log lines with the request, the job and the image they belong to.

A batch holds items of many requests. Of each job in it there is one line, so that an import of a million pictures does
not write a million; of an item that fails there is one of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog

from core.progress import progress
from core.types import Lane
from db.claims import ClaimedEntry, ClaimedItem, ExhaustedItem
from db.entries import NewEntry

log = structlog.get_logger()

Claimed = ClaimedItem | ClaimedEntry


def claimed(lane: Lane, items: Sequence[Claimed]) -> None:
    """Tell which items were taken up."""
    for some in _jobs(items):
        log.debug("claimed", lane=lane, **_named(some))


def ended(
    event: str, lane: Lane, items: Sequence[Claimed], done: Iterable[UUID], failed: Mapping[UUID, tuple[str, str]]
) -> None:
    """Tell what became of items. event: what `done` are now; failed: {item: (code, detail)}."""
    finished = set(done)
    for some in _jobs([item for item in items if item.id in finished]):
        log.info(event, lane=lane, **_named(some))
    for item in items:
        if item.id in failed:
            code, detail = failed[item.id]
            log.warning("item failed", lane=lane, code=code, detail=detail, **_named([item]))
    if finished or failed:
        progress.note()


def retried(item: Claimed, reason: str) -> None:
    """Tell that an item goes back into the queue, and why."""
    log.warning("will try again", reason=reason, **_named([item]))


def given_up(items: Iterable[ExhaustedItem]) -> None:
    """Tell which items were tried too often."""
    for item in items:
        named = {"request_id": item.request_id, "job_id": str(item.job_id), "item_id": str(item.id)}
        if item.image_id:
            named["image_id"] = str(item.image_id)
        log.warning("item failed", lane=item.lane, code=item.code, detail=item.detail, **named)


def refused(request_id: str | None, job_id: UUID, entries: Iterable[NewEntry]) -> None:
    """Tell which entries of a source were listed as failed items."""
    for entry in entries:
        if entry.error:
            code, detail = entry.error
            named = {"request_id": request_id, "job_id": str(job_id), "name": entry.name}
            log.warning("item failed", lane=Lane.FETCH, code=code, detail=detail, **named)


def _jobs(items: Sequence[Claimed]) -> list[list[Claimed]]:
    """The items, those of one job together."""
    jobs: dict[UUID, list[Claimed]] = {}
    for item in items:
        jobs.setdefault(item.job_id, []).append(item)
    return list(jobs.values())


def _named(items: Sequence[Claimed]) -> dict[str, Any]:
    """What a line about these items of one job carries."""
    first = items[0]
    names: dict[str, Any] = {"request_id": first.request_id, "job_id": str(first.job_id), "pictures": len(items)}
    if len(items) == 1:
        names["item_id"] = str(first.id)
        if isinstance(first, ClaimedItem):
            names["image_id"] = str(first.image_id)
        if first.attempts > 1:
            names["attempt"] = first.attempts
    return names

"""The rows of jobs that change many images: what was chosen, the items of it, listed and taken in batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, insert, select, text, update
from sqlalchemy.orm import Session

from umbel.base.copy import copy_rows
from umbel.base.errors import NotFound
from umbel.base.tables import BulkChange, Collection, Job
from umbel.base.types import ItemState, JobType, Queue
from umbel.gallery import trash
from umbel.gallery.collections import PRESENT
from umbel.gallery.filter_sql import I, filter_clause
from umbel.gallery.filters import Filter
from umbel.jobs import items, jobs

LISTED = 2_000  # images of a job in one transaction
FIRST = UUID(int=0)
OF_TRASH = (JobType.RESTORATION, JobType.PURGE)
ITEMS = {
    "job_id": "uuid", "queue": "text", "state": "text", "name": "text", "image_id": "uuid", "locator": "text",
    "error_code": "text", "error_detail": "text",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chosen:
    """The images that a job is for: these, or those that pass a filter; of the trash also those that a job removed."""

    ids: Sequence[UUID] | None = None
    filter: Filter | None = None
    removed_by: UUID | None = None

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "ids": None if self.ids is None else sorted({str(each) for each in self.ids}),
            "filter": None
            if self.filter is None
            else self.filter.model_dump(mode="json", by_alias=True, exclude_unset=True),
            "removed_by": self.removed_by and str(self.removed_by),
        }

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Chosen":
        ids = None if stored["ids"] is None else [UUID(each) for each in stored["ids"]]
        asked = None if stored["filter"] is None else Filter.model_validate(stored["filter"])
        return cls(ids, asked, UUID(stored["removed_by"]) if stored["removed_by"] else None)


@dataclass(frozen=True, slots=True)
class Taken:
    """Items of one job, locked until the transaction ends, and the image of each."""

    job_id: UUID
    job_type: JobType
    changes: dict[str, Any]
    images: dict[UUID, UUID]  # {item: image}


def insert_bulk(
    session: Session, job_type: JobType, chosen: Chosen, *, collection_id: UUID | None, changes: Mapping[str, Any]
) -> UUID:
    """A job for these images; it stays open until all are listed."""
    job_id = jobs.insert_job(session, job_type, closed=False, collection_id=collection_id)
    session.execute(insert(BulkChange).values(job_id=job_id, chosen=chosen.as_dict(), changes=dict(changes)))
    return job_id


def insert_removal(session: Session, job_id: UUID) -> None:
    """Let a job of its own type, a run of a sync, remove images: those of `insert_removals`."""
    session.execute(insert(BulkChange).values(job_id=job_id, chosen=Chosen().as_dict(), listed=True))


def insert_removals(session: Session, job_id: UUID, images: Mapping[UUID, str | None]) -> None:
    """An item for each image that a job is to remove, with its name."""
    rows = [
        (job_id, Queue.CHANGE.value, ItemState.PENDING.value, name, image_id, None, None, None)
        for image_id, name in images.items()
    ]
    copy_rows(session, "job_item", ITEMS, rows)


def end_listing(session: Session, job_id: UUID) -> None:
    """List no further; waits for a batch that is being listed."""
    session.execute(update(BulkChange).where(BulkChange.job_id == job_id).values(listed=True))


def list_some(session: Session) -> bool:
    """Give the next images of a job that is still being listed their items. False if there is none."""
    unlisted = select(BulkChange, Job).join(Job, Job.id == BulkChange.job_id).where(~BulkChange.listed, ~Job.paused)
    row = session.execute(
        unlisted.order_by(BulkChange.job_id).limit(1).with_for_update(of=BulkChange, skip_locked=True)
    ).first()
    if row is None:
        return False
    bulk, job = row
    chosen, after = Chosen.of(bulk.chosen), bulk.position or FIRST
    found = _find(session, JobType(job.type), chosen, job, after)
    last: UUID | None = None
    if chosen.ids is None:
        rows = list(found.items())
        last = rows[-1][0] if len(rows) == LISTED else None
        listed = [_item(job, image_id, name) for image_id, name in rows]
    else:
        some = [each for each in chosen.ids if each > after][:LISTED]
        last = some[-1] if len(some) == LISTED else None
        listed = [_item(job, each, found[each]) if each in found else _missing(job, each) for each in some]
    copy_rows(session, "job_item", ITEMS, listed)
    bulk.position, bulk.listed = last, last is None
    session.flush()
    if last is None:
        jobs.close_job(session, job.id)
    return True


def _find(session: Session, job_type: JobType, chosen: Chosen, job: Job, after: UUID) -> dict[UUID, str | None]:
    """The next images that a job is for, by id, with their names. Those that came in after it are not."""
    table: Any = trash.TRASHED if job_type in OF_TRASH else I
    conditions: list[ColumnElement[bool]] = [table.id > after]
    conditions += [table.id < job.id] if chosen.ids is None else []
    conditions += [table.collection_id == job.collection_id] if job.collection_id else []
    conditions += [filter_clause(chosen.filter)] if chosen.filter else []
    conditions += [table.id.in_([each for each in chosen.ids if each > after][:LISTED])] if chosen.ids else []
    conditions += [table.job_id == chosen.removed_by] if chosen.removed_by else []
    statement = select(table.id, table.name).join(Collection, and_(Collection.id == table.collection_id, PRESENT))
    rows = session.execute(statement.where(*conditions).order_by(table.id).limit(LISTED))
    return {row[0]: row[1] for row in rows}


def _item(job: Job, image_id: UUID, name: str | None) -> tuple[Any, ...]:
    of_trash = job.type in OF_TRASH
    place = (None, str(image_id)) if of_trash else (image_id, None)
    return (job.id, Queue.CHANGE.value, ItemState.PENDING.value, name, *place, None, None)


def _missing(job: Job, image_id: UUID) -> tuple[Any, ...]:
    where = "in the trash" if job.type in OF_TRASH else "in the collection" if job.collection_id else "there"
    error = (NotFound.code, f"Image {image_id} is not {where}.")
    return (job.id, Queue.CHANGE.value, ItemState.FAILED.value, str(image_id), None, None, *error)


# Lock the next items of the job that has waited longest. The lock is the lease: a worker that dies gives them back.
TAKE = text("""
    SELECT i.id, coalesce(i.image_id, CAST(i.locator AS uuid)) AS image_id, i.job_id, job.type, b.changes
    FROM job_item i JOIN job ON job.id = i.job_id JOIN bulk_change b ON b.job_id = i.job_id
    WHERE i.state = 'pending' AND NOT i.paused AND i.queue = 'change' AND i.job_id = (
        SELECT job_id FROM job_item WHERE state = 'pending' AND NOT paused AND queue = 'change'
        AND job_id <> ALL (ARRAY(SELECT id FROM job WHERE settling AND (paused OR cancelling OR retrying)))
        ORDER BY attempts, retries, id LIMIT 1)
    ORDER BY i.attempts, i.retries, i.id LIMIT :limit FOR UPDATE OF i SKIP LOCKED
""")


def take_items(session: Session, limit: int) -> Taken | None:
    """Up to `limit` items of one job; None if there are none, or others are at them."""
    rows = session.execute(TAKE, {"limit": limit}).all()
    if not rows:
        return None
    first = rows[0]
    return Taken(first.job_id, JobType(first.type), first.changes, {row.id: row.image_id for row in rows})


def lock_items_of(session: Session, taken: Taken, *, others: bool) -> None:
    """Lock the taken items' jobs; others: and all other items of their images."""
    more: Sequence[UUID] = ()
    if others:
        statement = text("SELECT id FROM job_item WHERE image_id = ANY (:images)")
        more = session.scalars(statement, {"images": list(taken.images.values())}).all()
    items.lock_items(session, list({*taken.images, *more}))

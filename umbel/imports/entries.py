"""Entries of a source: listed into the ledger by COPY, and given their images when they have been read."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from umbel.base.copy import copy_rows
from umbel.base.tables import JobItem
from umbel.base.types import ItemState, Queue
from umbel.gallery.storing import StoredImage
from umbel.jobs import items, jobs
from umbel.jobs.claims import ClaimedEntry
from umbel.jobs.jobs import NewUpload

LISTED = {
    "job_id": "uuid", "queue": "text", "state": "text", "name": "text", "locator": "text",
    "label": "text", "external_id": "text", "metadata": "jsonb", "error_code": "text", "error_detail": "text",
    "image_id": "uuid",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NewEntry:
    """A picture that a source has, or that it has and cannot give: error is (code, detail).

    image_id: of the image that was read from it before.
    """

    name: str
    locator: str
    label: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    error: tuple[str, str] | None = None
    external_id: str | None = None
    image_id: UUID | None = None


def insert_entries(session: Session, job_id: UUID, entries: Sequence[NewEntry]) -> None:
    """One item for each entry: to be read, a duplicate where its image is known, failed where the source refused it."""
    copy_rows(session, "job_item", LISTED, (_listed(job_id, entry) for entry in entries))


def lock_unread(session: Session, listed: Sequence[UUID]) -> set[UUID]:
    """Lock items as `items.lock_items` does. Returns those that still wait to be read, and were not by another."""
    items.lock_items(session, listed)
    # What is asked of them is not left to the planner: while its statistics are of before the import, it takes the
    # items without an image to be few, and goes through all of them for each of these.
    rows = session.execute(select(JobItem.id, JobItem.state, JobItem.image_id).where(JobItem.id.in_(listed)))
    return {row.id for row in rows if row.state == ItemState.PENDING and row.image_id is None}


# Give pending items their images: to be embedded next, by anyone or by who has read them; or end them as duplicates.
ASSIGN = text("""
    UPDATE job_item SET
        image_id = given.image_id, attempts = 0, retries = 0, lease_owner = CASE WHEN kept THEN :owner END,
        lease_until = CASE WHEN kept THEN now() + make_interval(secs => :lease_seconds) END, queue = 'bulk',
        state = CASE WHEN duplicate THEN 'duplicate' ELSE 'pending' END,
        finished_at = CASE WHEN duplicate THEN now() END
    FROM unnest(CAST(:items AS uuid[]), CAST(:images AS uuid[]), CAST(:duplicates AS bool[]), CAST(:kept AS bool[]))
         AS given(item_id, image_id, duplicate, kept)
    WHERE job_item.id = given.item_id AND state = 'pending'
    RETURNING job_item.id, state = 'pending' AS embedded_next
""")
# Delete the new images that no item has.
ORPHANS = text("""
    DELETE FROM image WHERE id = ANY (:new) AND NOT EXISTS (SELECT FROM job_item WHERE image_id = image.id)
    RETURNING blob_key
""")


@dataclass(frozen=True, slots=True)
class Assigned:
    """to_embed: items that wait for their embedding now; of those, `kept` are the ones that are reserved.

    orphans: blob keys of new images that no item wants any more, since theirs were cancelled meanwhile or read by
    another worker, too; their rows are gone.
    """

    to_embed: set[UUID]
    kept: set[UUID]
    orphans: list[str]


def assign_images(
    session: Session,
    stored: Mapping[UUID, StoredImage],
    unread: Container[UUID],
    *,
    keep: Container[UUID],
    lease: tuple[str, float],
) -> Assigned:
    """Give items, of `stored`, that are still `unread` their images: to be embedded, or duplicates.

    An image goes to the first of its items, unless a job embeds it already. keep: items that, if they are to be
    embedded, are reserved: leased, and not claimed yet. lease: its owner and its seconds.
    """
    given = {item: image for item, image in stored.items() if item in unread}
    first = {image.id: item for item, image in reversed(given.items())}
    duplicates = [not image.to_embed or first[image.id] != item for item, image in given.items()]
    ids = [image.id for image in given.values()]
    kept = [item in keep and not duplicate for item, duplicate in zip(given, duplicates, strict=True)]
    values = {"items": list(given), "images": ids, "duplicates": duplicates, "kept": kept}
    rows = session.execute(ASSIGN, {**values, "owner": lease[0], "lease_seconds": lease[1]})
    to_embed = {row.id for row in rows if row.embedded_next}
    orphans = list(session.scalars(ORPHANS, {"new": [image.id for image in stored.values() if image.new]}))
    return Assigned(to_embed, to_embed.intersection(compress(given, kept)), orphans)


def embed_replaced(
    session: Session, listed: Sequence[ClaimedEntry], stored: Mapping[UUID, StoredImage], unread: Container[UUID]
) -> int:
    """An image whose picture was replaced is embedded, also where the item that did so was cancelled meanwhile.

    Returns how many are.
    """
    left = [item for item in listed if item.id in stored and stored[item.id].replaced and item.id not in unread]
    uploads = [
        NewUpload(
            collection_id=item.collection_id,
            image_id=stored[item.id].id,
            name=item.name,
            job_id=None,
            duplicate=False,
            request_id=item.request_id,
            traceparent=item.traceparent,
            api_key_id=None,
        )
        for item in left
    ]
    jobs.insert_uploads(session, uploads)
    return len(uploads)


def _listed(job_id: UUID, entry: NewEntry) -> tuple[Any, ...]:
    state = ItemState.FAILED if entry.error else ItemState.DUPLICATE if entry.image_id else ItemState.PENDING
    code, detail = entry.error or (None, None)
    meta = Jsonb(entry.meta) if entry.meta else None
    described = (entry.name, entry.locator, entry.label, entry.external_id, meta)
    return (job_id, Queue.FETCH, state, *described, code, detail, entry.image_id)

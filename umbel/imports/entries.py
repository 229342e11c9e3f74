"""Entries of a source: listed into the ledger by COPY, and given their images when they have been read."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from umbel.base.copy import copy_rows, stage_rows
from umbel.base.tables import JobItem
from umbel.base.types import ItemState, Queue
from umbel.gallery import images
from umbel.gallery.images import NewImage
from umbel.jobs import items

LISTED = {
    "job_id": "uuid", "queue": "text", "state": "text", "paused": "bool", "name": "text", "locator": "text",
    "label": "text", "metadata": "jsonb", "error_code": "text", "error_detail": "text",
}  # fmt: skip
STAGED = {"item_id": "uuid", **images.COLUMNS}


@dataclass(frozen=True, slots=True)
class NewEntry:
    """A picture that a source has, or that it has and cannot give: error is (code, detail)."""

    name: str
    locator: str
    label: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    error: tuple[str, str] | None = None


def insert_entries(session: Session, job_id: UUID, entries: Sequence[NewEntry], *, paused: bool) -> None:
    """One item for each entry: to be read, or failed where the source has refused it."""
    copy_rows(session, "job_item", LISTED, (_listed(job_id, entry, paused) for entry in entries))


def insert_fetched_images(session: Session, fetched: Mapping[UUID, NewImage]) -> dict[UUID, str]:
    """Rows for the pictures of pending items, {item id: image}, that their collections do not have yet; none where a
    collection has been deleted meanwhile.

    Returns {image id: blob key} of the new ones, whose bytes are to be stored before the transaction ends.
    """
    stage_rows(session, "staged_image", STAGED, ((item, *images.values_of(image)) for item, image in fetched.items()))
    rows = session.execute(
        text("""
            WITH present AS MATERIALIZED (
                SELECT id FROM collection WHERE deleted_at IS NULL
                AND id IN (SELECT collection_id FROM staged_image) ORDER BY id FOR KEY SHARE
            )
            INSERT INTO image (collection_id, sha256, blob_key, media_type, size, width, height, name, label, metadata)
            SELECT DISTINCT ON (s.collection_id, s.sha256) s.collection_id, s.sha256, s.blob_key, s.media_type, s.size,
                   s.width, s.height, s.name, s.label, s.metadata
            FROM staged_image s JOIN job_item i ON i.id = s.item_id AND i.state = 'pending'
            JOIN present ON present.id = s.collection_id
            ORDER BY s.collection_id, s.sha256, s.item_id
            ON CONFLICT (collection_id, sha256) DO NOTHING RETURNING id, blob_key
        """)
    )
    return {row.id: row.blob_key for row in rows}


# An image goes to the first of its items here, unless an earlier item has embedded it or is about to.
ASSIGN = """
WITH found AS (
    SELECT s.item_id, image.id AS image_id,
           row_number() OVER (PARTITION BY image.id ORDER BY s.item_id) = 1 AND coalesce((
               SELECT earlier.state FROM job_item earlier
               WHERE earlier.image_id = image.id AND earlier.state <> 'duplicate' AND earlier.queue <> 'compare'
               ORDER BY earlier.id DESC LIMIT 1
           ), 'failed') IN ('failed', 'cancelled') AS wanted
    FROM staged_image s JOIN image USING (collection_id, sha256)
)
UPDATE job_item SET
    image_id = found.image_id, attempts = 0, retries = 0, lease_owner = NULL, lease_until = NULL, queue = :bulk,
    state = CASE WHEN wanted THEN :pending ELSE :duplicate END,
    finished_at = CASE WHEN wanted THEN NULL ELSE now() END
FROM found WHERE job_item.id = found.item_id AND state = 'pending'
"""


def lock_unread(session: Session, listed: Sequence[UUID]) -> set[UUID]:
    """Lock items as `items.lock_items` does. Returns those that still wait to be read, and were not by another."""
    items.lock_items(session, listed)
    # What is asked of them is not left to the planner: while its statistics are of before the import, it takes the
    # items without an image to be few, and goes through all of them for each of these.
    rows = session.execute(select(JobItem.id, JobItem.state, JobItem.image_id).where(JobItem.id.in_(listed)))
    return {row.id for row in rows if row.state == ItemState.PENDING and row.image_id is None}


def assign_images(session: Session, unread: Collection[UUID], new: Sequence[UUID]) -> list[str]:
    """Give those items staged by `insert_fetched_images` that are still `unread` their images: to be embedded, or
    duplicates.

    Returns the blob keys of `new` images that nobody wants any more, since their items were cancelled meanwhile or read
    by another worker, too; their rows are gone.
    """
    session.execute(text("DELETE FROM staged_image WHERE item_id <> ALL (:unread)"), {"unread": list(unread)})
    states = {"bulk": Queue.BULK, "pending": ItemState.PENDING, "duplicate": ItemState.DUPLICATE}
    session.execute(text(ASSIGN), states)
    orphans = session.scalars(
        text("""
            DELETE FROM image WHERE id = ANY (:new) AND NOT EXISTS (SELECT FROM job_item WHERE image_id = image.id)
            RETURNING blob_key
        """),
        {"new": list(new)},
    )
    return list(orphans)


def _listed(job_id: UUID, entry: NewEntry, paused: bool) -> tuple[Any, ...]:
    state = ItemState.FAILED if entry.error else ItemState.PENDING
    code, detail = entry.error or (None, None)
    meta = Jsonb(entry.meta) if entry.meta else None
    return (job_id, Queue.FETCH, state, paused, entry.name, entry.locator, entry.label, meta, code, detail)

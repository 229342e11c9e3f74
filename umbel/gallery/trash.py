"""The trash: removed images, out of everything at once, that can be restored for some days.

An image is moved, not marked: its row and vectors leave the tables that all else looks into, so no search, list, count
or job has to know of the trash. Its bytes stay where they are until it is purged.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, select, text
from sqlalchemy.orm import Session, aliased

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.tables import Collection, TrashedImage, ago
from umbel.base.types import EventType
from umbel.events.log import insert_event
from umbel.gallery import blob_cleanups
from umbel.gallery.blob_cleanups import clean_up_blobs
from umbel.gallery.collections import PRESENT
from umbel.gallery.filter_sql import filter_clause
from umbel.gallery.filters import EVERYTHING, Filter

TRASHED = aliased(TrashedImage, name="i")  # by the name that `filter_clause` has for an image
BATCH = 200  # images purged at once
TURNS = 10  # batches of one cleanup; the next comes with the next sweep
COLUMNS = (
    "id, collection_id, sha256, blob_key, media_type, size, width, height, name, external_id, label, metadata, note,"
    " created_at, replaced_at"
)
# Move images into the trash with their vectors.
MOVE = text(f"""
    WITH moved AS (
        INSERT INTO trashed_image ({COLUMNS}, job_id)
        SELECT {COLUMNS}, :job FROM image WHERE id = ANY (:images) ORDER BY id FOR UPDATE RETURNING id
    )
    INSERT INTO trashed_embedding (image_id, model_version_id, vector)
    SELECT e.image_id, e.model_version_id, e.vector FROM embedding e JOIN moved ON moved.id = e.image_id
""")
# To tell of images, by their collections.
OF_COLLECTIONS = text("""
    SELECT c.name, array_agg(i.id ORDER BY i.id) FROM image i JOIN collection c ON c.id = i.collection_id
    WHERE i.id = ANY (:images) GROUP BY c.name ORDER BY c.name
""")
# Bring them back, under the versions that have vectors, and take them out of the trash.
BACK = text(f"INSERT INTO image ({COLUMNS}) SELECT {COLUMNS} FROM trashed_image WHERE id = ANY (:images)")
VECTORS = text("""
    INSERT INTO embedding (model_version_id, image_id, collection_id, vector)
    SELECT e.model_version_id, e.image_id, t.collection_id, e.vector
    FROM trashed_embedding e JOIN trashed_image t ON t.id = e.image_id
    WHERE e.image_id = ANY (:images) AND e.model_version_id = ANY (:versions)
    RETURNING model_version_id, image_id
""")


@dataclass(frozen=True, slots=True)
class TrashedRow:
    """An image in the trash as people see it. purged_at: when it goes for ever. job_id: that removed it, if one did."""

    id: UUID
    collection: str
    name: str | None
    external_id: str | None
    label: str | None
    meta: dict[str, Any]
    sha256: bytes
    size: int
    created_at: datetime
    trashed_at: datetime
    purged_at: datetime
    job_id: UUID | None


def move_to_trash(session: Session, images: Sequence[UUID], *, job_id: UUID | None = None) -> None:
    """Move images, whose items are locked, into the trash. job_id: that removes them."""
    values = {"images": list(images), "job": job_id}
    session.execute(MOVE, values)
    session.execute(text("DELETE FROM image WHERE id = ANY (:images)"), values)


def bring_back(session: Session, images: Sequence[UUID], versions: Iterable[UUID]) -> dict[UUID, set[UUID]]:
    """Move images, for which there is room, out of the trash. Returns the versions whose vectors each of them has.

    images: up to 200, which are one event for each collection. versions: those that are not retired, which stay as
    they are until the transaction ends.
    """
    values = {"images": list(images), "versions": list(versions)}
    session.execute(BACK, values)
    vectors: dict[UUID, set[UUID]] = {image: set() for image in images}
    for version_id, image_id in session.execute(VECTORS, values):
        vectors[image_id].add(version_id)
    session.execute(delete(TrashedImage).where(TrashedImage.id.in_(images)))
    for collection, ids in session.execute(OF_COLLECTIONS, values):
        insert_event(session, EventType.IMAGE_RESTORED, {"image_ids": list(map(str, ids))}, collection=collection)
    return vectors


def list_trashed(
    session: Session,
    *,
    collection: str | None,
    asked: Filter = EVERYTHING,
    job_id: UUID | None = None,
    days: int,
    before: UUID | None,
    limit: int,
) -> list[TrashedRow]:
    """Up to `limit` images of the trash, the newest image first, older than `before`. days: that they stay there."""
    t = TRASHED
    columns = (t.id, Collection.name, t.name, t.external_id, t.label, t.meta, t.sha256, t.size)
    times = (t.created_at, t.trashed_at, t.trashed_at + timedelta(days=days), t.job_id)
    statement = select(*columns, *times).join(Collection, (Collection.id == t.collection_id) & PRESENT)
    statement = statement.where(*chosen(asked, collection=collection, job_id=job_id))
    if before is not None:
        statement = statement.where(t.id < before)
    return [TrashedRow(*row) for row in session.execute(statement.order_by(t.id.desc()).limit(limit))]


def chosen(asked: Filter, *, collection: str | None, job_id: UUID | None) -> list[ColumnElement[bool]]:
    """What `TRASHED`, joined with its collection, must meet."""
    conditions: list[ColumnElement[bool]] = [filter_clause(asked)] if asked else []
    conditions += [Collection.name == collection] if collection is not None else []
    return conditions + ([TRASHED.job_id == job_id] if job_id is not None else [])


def purge_images(session: Session, images: Sequence[UUID]) -> list[UUID]:
    """Delete images of the trash for ever. Returns cleanups of their bytes, which are to go next."""
    statement = delete(TrashedImage).where(TrashedImage.id.in_(images)).returning(TrashedImage.blob_key)
    return blob_cleanups.insert_cleanups(session, list(session.scalars(statement)))


def purge_old(transaction: Transaction, blobs: Blobs, days: int) -> bool:
    """Purge what has been in the trash for `days`, a batch a transaction. Returns whether none is left.

    Raises NotReady, TransientError.
    """
    old = select(TrashedImage.id).where(TrashedImage.trashed_at <= ago(days * 86_400.0))
    return any(not _purge_some(transaction, blobs, old) for _ in range(TURNS))


def purge_collection(session: Session, collection_id: UUID, limit: int) -> int:
    """Purge up to `limit` images of a deleted collection. Returns how many; the sweep removes the bytes."""
    some = select(TrashedImage.id).where(TrashedImage.collection_id == collection_id)
    images = session.scalars(some.order_by(TrashedImage.id).limit(limit).with_for_update()).all()
    purge_images(session, images)
    return len(images)


def _purge_some(transaction: Transaction, blobs: Blobs, which: Any) -> bool:
    with transaction() as session:
        locked = which.order_by(TrashedImage.id).limit(BATCH).with_for_update(skip_locked=True)
        images = session.scalars(locked).all()
        cleanups = purge_images(session, images)
    with transaction() as session:
        clean_up_blobs(session, blobs, blob_cleanups.claim_cleanups(session, cleanups))
    return len(images) == BATCH

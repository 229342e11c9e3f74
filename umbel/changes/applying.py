"""What a job does to a batch of images, in one transaction, and what each of its items comes to."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from umbel.base.errors import ExternalIdTaken, InvalidInput, NotFound, QuotaExceeded, UmbelError
from umbel.base.tables import Collection, Image, SyncFile, TrashedImage
from umbel.base.types import ItemState, JobType, Queue
from umbel.changes.bulk_rows import Taken, lock_items_of
from umbel.embedding import tiles
from umbel.gallery import external_ids, images, quotas, trash
from umbel.gallery.blob_cleanups import lock_blobs
from umbel.gallery.collections import PRESENT
from umbel.jobs import items
from umbel.models import versions


@dataclass(slots=True)
class Outcome:
    """Of a batch, by item. done: what else is not said. embed: they wait for their vectors now.

    cleanups: of bytes that are to go after the commit.
    """

    failed: dict[UUID, UmbelError] = field(default_factory=dict)
    duplicates: list[UUID] = field(default_factory=list)
    embed: dict[UUID, UUID] = field(default_factory=dict)
    cleanups: list[UUID] = field(default_factory=list)


def apply(session: Session, taken: Taken, *, keep: bool) -> Outcome:
    """Do to the taken images what their job is for, and finish their items. keep: what is removed goes into the trash.

    The states of model versions are locked.
    """
    outcome = Outcome()
    match taken.job_type:
        case JobType.CHANGE:
            lock_items_of(session, taken, others=False)
            outcome.failed = _change(session, taken)
            _finish(session, taken, outcome)
        case JobType.REMOVAL | JobType.SYNC:
            lock_items_of(session, taken, others=True)
            if taken.job_type == JobType.SYNC:
                outcome.duplicates = _held(session, taken)
            _finish(session, taken, outcome)  # first: an item that is pending is cancelled with its image
            removed = [image for item, image in taken.images.items() if item not in outcome.duplicates]
            if keep:
                trash.move_to_trash(session, removed, job_id=taken.job_id)
            else:
                outcome.cleanups = images.delete_images(session, removed)
        case JobType.RESTORATION:
            lock_items_of(session, taken, others=False)
            _restore(session, taken, outcome)
            _finish(session, taken, outcome)
        case JobType.TILING:
            lock_items_of(session, taken, others=False)
            untiled = tiles.find_untiled(session, list(taken.images.values()), versions.list_maintained(session))
            outcome.embed = {item: image for item, image in taken.images.items() if image in untiled}
            _finish(session, taken, outcome, queue=Queue.REINDEX)  # nothing new of an image that is found already
        case JobType.PURGE:
            lock_items_of(session, taken, others=False)
            outcome.cleanups = trash.purge_images(session, list(taken.images.values()))
            _finish(session, taken, outcome)
    return outcome


# Set labels and metadata of locked images.
CHANGE = text("""
    UPDATE image SET label = CASE WHEN :relabel THEN CAST(:label AS text) ELSE label END,
                     metadata = CAST(given.metadata AS jsonb)
    FROM unnest(CAST(:images AS uuid[]), CAST(:metadata AS text[])) AS given(id, metadata) WHERE image.id = given.id
""")


def _change(session: Session, taken: Taken) -> dict[UUID, UmbelError]:
    """Set the label, and merge metadata. An image whose metadata would become too long stays as it is."""
    locked = select(Image.id, Image.meta).where(Image.id.in_(taken.images.values())).order_by(Image.id)
    before = {row[0]: row[1] for row in session.execute(locked.with_for_update(key_share=True))}
    failed: dict[UUID, UmbelError] = {}
    becomes: dict[UUID, str] = {}
    for item, image_id in taken.images.items():
        metadata = before.get(image_id, {})
        try:
            if "metadata" in taken.changes:
                metadata = images.merged_metadata(metadata, taken.changes["metadata"])
        except InvalidInput as error:
            failed[item] = error
            continue
        becomes[image_id] = json.dumps(metadata)
    values: dict[str, Any] = {"images": list(becomes), "metadata": list(becomes.values())}
    labels = {"relabel": "label" in taken.changes, "label": taken.changes.get("label")}
    session.execute(CHANGE, values | labels)
    return failed


def _restore(session: Session, taken: Taken, outcome: Outcome) -> None:
    """Bring images back, unless their bytes or external id are there again, or the collection has no room."""
    present = select(TrashedImage).join(Collection, (Collection.id == TrashedImage.collection_id) & PRESENT)
    locked = present.where(TrashedImage.id.in_(taken.images.values())).order_by(TrashedImage.id)
    rows = {row.id: row for row in session.scalars(locked.with_for_update(of=TrashedImage))}
    external_ids.lock_external_ids(
        session, [(row.collection_id, row.external_id) for row in rows.values() if row.external_id]
    )
    lock_blobs(session, [row.blob_key for row in rows.values()])
    bytes_there, ids_there = _list_there(session, list(rows.values()))
    limited = {row.collection_id for row in rows.values()}
    rooms = quotas.lock_rooms(session, quotas.list_limited(session, limited))
    restored: dict[UUID, UUID] = {}
    for item, image_id in taken.images.items():
        row = rows.get(image_id)
        if row is None:
            outcome.failed[item] = NotFound(f"Image {image_id} is not in the trash any more.")
        elif (row.collection_id, row.sha256) in bytes_there:
            outcome.duplicates.append(item)
        elif row.external_id and (row.collection_id, row.external_id) in ids_there:
            outcome.failed[item] = ExternalIdTaken(f"Another image has the external_id {row.external_id!r} by now.")
        else:
            try:
                if room := rooms.get(row.collection_id):
                    room.take(row.size)
            except QuotaExceeded as error:
                outcome.failed[item] = error
                continue
            bytes_there.add((row.collection_id, row.sha256))
            ids_there.add((row.collection_id, row.external_id))
            restored[item] = image_id
    vectors = trash.bring_back(session, list(restored.values()), versions.list_with_vectors(session))
    maintained = set(versions.list_maintained(session))
    untiled = tiles.find_untiled(session, list(restored.values()), list(maintained))
    for item, image_id in restored.items():
        if not maintained or maintained - vectors[image_id] or image_id in untiled:
            outcome.embed[item] = image_id


def _held(session: Session, taken: Taken) -> list[UUID]:
    """The items whose images a file of a sync has got since they were chosen, which stay."""
    locked = select(Image.id).where(Image.id.in_(taken.images.values())).order_by(Image.id)
    session.execute(locked.with_for_update())
    held = set(session.scalars(select(SyncFile.image_id).where(SyncFile.image_id.in_(taken.images.values()))))
    return [item for item, image in taken.images.items() if image in held]


def _list_there(
    session: Session, rows: Sequence[TrashedImage]
) -> tuple[set[tuple[UUID, bytes]], set[tuple[UUID, str | None]]]:
    """Of these images, by collection: the bytes and the external ids that images have."""
    values = {
        "collections": [row.collection_id for row in rows],
        "hashes": [row.sha256 for row in rows],
        "ids": [row.external_id for row in rows],
    }
    given = """
        FROM unnest(CAST(:collections AS uuid[]), CAST(:hashes AS bytea[]), CAST(:ids AS text[]))
             AS given(collection_id, sha256, external_id) JOIN image USING
    """
    hashes = session.execute(text(f"SELECT collection_id, sha256 {given} (collection_id, sha256)"), values)
    ids = session.execute(text(f"SELECT collection_id, external_id {given} (collection_id, external_id)"), values)
    return {(row[0], bytes(row[1])) for row in hashes}, {(row[0], row[1]) for row in ids}


def _finish(session: Session, taken: Taken, outcome: Outcome, *, queue: Queue = Queue.BULK) -> None:
    """Bring the items to what they came to. queue: of those to be embedded.

    Those that fail forget their image, as a worker cannot mend it, unless it is in the trash and may be restored later.
    """
    session.execute(
        text("""
            UPDATE job_item SET queue = :queue, image_id = given.image, locator = NULL, attempts = 0, retries = 0
            FROM unnest(CAST(:items AS uuid[]), CAST(:images AS uuid[])) AS given(item, image)
            WHERE job_item.id = given.item
        """),
        {"items": list(outcome.embed), "images": list(outcome.embed.values()), "queue": queue},
    )
    items.fail_items(session, {item: (error.code, error.detail) for item, error in outcome.failed.items()})
    if taken.job_type == JobType.CHANGE and outcome.failed:
        session.execute(
            text("UPDATE job_item SET image_id = NULL WHERE id = ANY (:items)"), {"items": list(outcome.failed)}
        )
    items.finish_items(session, outcome.duplicates, ItemState.DUPLICATE)
    others = {*outcome.failed, *outcome.duplicates, *outcome.embed}
    items.finish_items(session, [item for item in taken.images if item not in others], ItemState.INDEXED)

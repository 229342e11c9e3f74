"""The senders' own ids of images, and what an image that comes in under one does to those that are there.

Of its collection one image has it, by a constraint. An image that comes under it is that image: with the same bytes it
brings its name, label and metadata, with others it replaces the picture. docs/how-to/external-ids.md has all cases.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.errors import ExternalIdTaken
from umbel.base.types import ImageInfo, Queue
from umbel.jobs import items

# Lock external ids until the transaction ends. Taken before any lock on blobs, items or images.
LOCK = text("""
    SELECT pg_advisory_xact_lock(hashtextextended('external id ' || collection_id || ' ' || external_id, 0))
    FROM unnest(CAST(:collections AS uuid[]), CAST(:ids AS text[])) AS given(collection_id, external_id)
""")
# Find the images that have these external ids, and those that have these bytes.
FIND = text("""
    SELECT owner.id AS owner, owner.blob_key AS owner_blob, owner.size AS owner_size, same.id AS same,
           same.external_id AS same_external_id
    FROM unnest(CAST(:collections AS uuid[]), CAST(:ids AS text[]), CAST(:hashes AS bytea[])) WITH ORDINALITY
         AS given(collection_id, external_id, sha256, at)
    LEFT JOIN image owner ON owner.collection_id = given.collection_id AND owner.external_id = given.external_id
    LEFT JOIN image same ON same.collection_id = given.collection_id AND same.sha256 = given.sha256
    ORDER BY given.at
""")
# Give images what their senders say of them now; what they do not say stays.
DESCRIBE = text("""
    UPDATE image SET external_id = given.external_id, name = coalesce(given.name, image.name),
           label = coalesce(given.label, image.label), metadata = coalesce(given.metadata, image.metadata)
    FROM unnest(CAST(:images AS uuid[]), CAST(:ids AS text[]), CAST(:names AS text[]), CAST(:labels AS text[]),
                CAST(:metadata AS jsonb[])) AS given(id, external_id, name, label, metadata)
    WHERE image.id = given.id AND (
        image.external_id IS DISTINCT FROM given.external_id OR image.name <> coalesce(given.name, image.name)
        OR image.label IS DISTINCT FROM coalesce(given.label, image.label)
        OR image.metadata <> coalesce(given.metadata, image.metadata))
""")
# Give an image another picture, and count what that takes of its collection's quota.
REPLACE = text("""
    WITH replaced AS (
        UPDATE image SET sha256 = :sha256, blob_key = :blob_key, media_type = :media_type, size = :size,
               width = :width, height = :height, note = :note, replaced_at = now()
        FROM (SELECT id, size FROM image WHERE id = :image FOR NO KEY UPDATE) former
        WHERE image.id = former.id RETURNING image.collection_id, image.size - former.size AS more
    ), counted AS (
        UPDATE collection SET used_bytes = used_bytes + more FROM replaced
        WHERE id = collection_id AND (max_images IS NOT NULL OR max_bytes IS NOT NULL)
    )
    SELECT collection_id FROM replaced
""")
# What was made of the former pictures, and what waits for them.
EMBEDDING_QUEUES = [Queue.SINGLE, Queue.BULK, Queue.REINDEX, Queue.COMPARE]
WAITING = text("""
    SELECT id FROM job_item WHERE image_id = ANY (:images) AND state = 'pending' AND queue = ANY (:queues)
""")
CANCEL = text("""
    UPDATE job_item SET state = 'cancelled', finished_at = now(), lease_owner = NULL, lease_until = NULL
    WHERE id = ANY (:items) AND state = 'pending'
""")
FORGET = [
    text(f"DELETE FROM {table} WHERE image_id = ANY (:images)")
    for table in ("embedding", "tile", "nearest_neighbors", "image_signature")
]
REGROUP = text("""
    UPDATE duplicate_grouping SET changes = changes + 1 WHERE id IN (
        SELECT id FROM duplicate_grouping WHERE collection_id = ANY (:collections) ORDER BY id FOR NO KEY UPDATE)
""")


@dataclass(frozen=True, slots=True)
class IdentifiedImage:
    """An image that came in under an external id. meta: None where its sender says nothing of it."""

    collection_id: UUID
    external_id: str
    sha256: bytes
    blob_key: str
    size: int
    info: ImageInfo
    name: str | None
    label: str | None
    meta: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Replacement:
    """An image that is to get another picture. former_…: of the one that it has; its size in bytes."""

    image_id: UUID
    former_blob: str
    former_size: int
    by: IdentifiedImage


@dataclass(frozen=True, slots=True)
class Found:
    """What images that came in are, by blob key; those of neither are new, or have the bytes of an image already."""

    replacements: dict[str, Replacement]
    taken: dict[str, ExternalIdTaken]


def lock_external_ids(session: Session, ids: Iterable[tuple[UUID, str]]) -> None:
    """Keep others from giving these ids, of these collections, to images until this transaction ends."""
    if pairs := sorted(set(ids)):
        collections, names = map(list, zip(*pairs, strict=True))
        session.execute(LOCK, {"collections": collections, "ids": names})


def list_replaceable_blobs(session: Session, images: Sequence[IdentifiedImage]) -> list[str]:
    """The blobs of the images that have these external ids, which are locked."""
    return [row.owner_blob for row in _find(session, images) if row.owner_blob]


def settle_identified(session: Session, images: Sequence[IdentifiedImage]) -> Found:
    """Give the images that have these bytes the external ids and what is said of them; find those to be replaced.

    The ids and the blobs are locked; no two of `images` have the same id or bytes.
    """
    found = Found({}, {})
    described: list[tuple[UUID, IdentifiedImage]] = []
    for image, row in zip(images, _find(session, images), strict=True):
        if row.same is not None and row.same != row.owner and (row.owner or row.same_external_id):
            found.taken[image.blob_key] = _taken(image, row)
        elif row.same is not None:
            described.append((row.same, image))
        elif row.owner is not None:
            found.replacements[image.blob_key] = Replacement(row.owner, row.owner_blob, row.owner_size, image)
    _describe(session, described)
    return found


def replace_pictures(session: Session, replacements: Sequence[Replacement]) -> dict[str, UUID]:
    """Give images other pictures: what was made of the former ones goes, and what waits for them is cancelled.

    Returns {blob key: image} without those that were removed meanwhile. The former bytes are left to the caller.
    """
    if not replacements:
        return {}
    images = {"images": [each.image_id for each in replacements]}
    waiting = session.scalars(WAITING, {**images, "queues": EMBEDDING_QUEUES}).all()
    items.lock_items(session, waiting)
    replaced: dict[str, UUID] = {}
    collections: set[UUID] = set()
    for each in sorted(replacements, key=lambda one: one.image_id):
        image, info = each.by, each.by.info
        values = {"image": each.image_id, "sha256": image.sha256, "blob_key": image.blob_key, "size": image.size}
        shown = {"media_type": info.media_type, "width": info.width, "height": info.height, "note": info.note}
        if collection_id := session.scalar(REPLACE, values | shown):
            replaced[image.blob_key] = each.image_id
            collections.add(collection_id)
    # Before the next statements look: what a worker stores of a former picture waits for the lock on its item, and
    # finds it cancelled.
    session.execute(CANCEL, {"items": list(waiting)})
    for statement in FORGET:
        session.execute(statement, images)
    session.execute(REGROUP, {"collections": list(collections)})
    _describe(session, [(each.image_id, each.by) for each in replacements if each.by.blob_key in replaced])
    return replaced


def check_free(session: Session, image_id: UUID, external_id: str) -> None:
    """Raises ExternalIdTaken where another image of the image's collection has this external id, which is locked."""
    statement = text("""
        SELECT other.id FROM image JOIN image other USING (collection_id)
        WHERE image.id = :image AND other.external_id = :external_id AND other.id <> :image
    """)
    other = session.scalar(statement, {"external_id": external_id, "image": image_id})
    if other is not None:
        raise ExternalIdTaken(f"Image {other} of the collection has the external_id {external_id!r}.")


def _find(session: Session, images: Sequence[IdentifiedImage]) -> Sequence[Any]:
    values = {
        "collections": [image.collection_id for image in images],
        "ids": [image.external_id for image in images],
        "hashes": [image.sha256 for image in images],
    }
    return session.execute(FIND, values).all() if images else []


def _taken(image: IdentifiedImage, row: Any) -> ExternalIdTaken:
    if row.owner is None:
        return ExternalIdTaken(
            f"Image {row.same} of the collection has these bytes, under the external_id {row.same_external_id!r}."
        )
    return ExternalIdTaken(
        f"Image {row.same} of the collection has these bytes, and image {row.owner} the external_id"
        f" {image.external_id!r}."
    )


def _describe(session: Session, described: Sequence[tuple[UUID, IdentifiedImage]]) -> None:
    if not described:
        return
    described = sorted(described, key=lambda one: one[0])
    given = [image for _, image in described]
    values = {
        "images": [image_id for image_id, _ in described],
        "ids": [image.external_id for image in given],
        "names": [image.name for image in given],
        "labels": [image.label for image in given],
        "metadata": [Jsonb(image.meta) if image.meta else None for image in given],
    }
    session.execute(DESCRIBE, values)

"""Images: found, listed, looked at, changed, removed. How they come in: umbel/gallery/storing.py."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, case, delete, exists, func, select, text, update
from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.errors import InvalidInput, NotFound
from umbel.base.pages import page_ids
from umbel.base.storable import check_object, merged
from umbel.base.tables import Collection, Embedding, Image, JobItem, ModelVersion
from umbel.base.types import EXTERNAL, LATER_QUEUES, ItemState
from umbel.gallery import blob_cleanups, external_ids, trash
from umbel.gallery.blob_cleanups import clean_up_blobs
from umbel.gallery.collections import NOT_DELETED, PRESENT
from umbel.gallery.filters import EVERYTHING, Filter, both, of_label
from umbel.gallery.passing import find_passing
from umbel.jobs import items


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image as people see it. status: the state of its newest item, `indexed` once it can be found."""

    id: UUID
    collection: str
    sha256: bytes
    blob_key: str
    media_type: str
    size: int
    width: int
    height: int
    name: str | None
    external_id: str | None
    label: str | None
    meta: dict[str, Any]
    note: str | None
    created_at: datetime
    replaced_at: datetime | None
    status: str


def list_known_sha256(session: Session, collection_id: UUID, hashes: Sequence[bytes]) -> dict[bytes, UUID]:
    """Those of `hashes` that the collection has already, with the images' ids; not those worth sending again."""
    rows = session.execute(
        select(Image.sha256, Image.id).where(
            Image.collection_id == collection_id,
            Image.sha256.in_(hashes),
            _status().not_in([ItemState.FAILED, ItemState.CANCELLED]),
        )
    )
    return {row.sha256: row.id for row in rows}


def get_image(session: Session, image_id: UUID, *, lock: bool = False) -> ImageRow:
    """Raises NotFound. lock: until this transaction ends, no other changes or removes it."""
    statement = _images().where(Image.id == image_id)
    if lock:
        statement = statement.with_for_update(of=Image, key_share=True)
    row = session.execute(statement).one_or_none()
    if row is None:
        raise NotFound(f"There is no image {image_id}.")
    return ImageRow(*row)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an image and its vectors come from. job_id: the first job it came with, None once that is not kept."""

    job_id: UUID | None
    embedded_by: list[UUID]


def get_origin(session: Session, image_id: UUID) -> Origin:
    """Of an image: the job that brought it, and the model versions that it has a vector of."""
    job = select(JobItem.job_id).where(JobItem.image_id == image_id, JobItem.queue.not_in(LATER_QUEUES))
    versions = select(Embedding.model_version_id).where(Embedding.image_id == image_id)
    return Origin(session.scalar(job.order_by(JobItem.id).limit(1)), list(session.scalars(versions)))


def lock_image(session: Session, image_id: UUID, changes: Mapping[str, Any]) -> ImageRow:
    """The image, which no other changes or removes until this transaction ends, and `changes` may. Raises NotFound."""
    if external_id := changes.get("external_id"):  # before the image, as uploads lock them
        place = session.scalar(select(Image.collection_id).where(Image.id == image_id))
        external_ids.lock_external_ids(session, [(place, external_id)] if place else [])
    return get_image(session, image_id, lock=True)


def list_images(
    session: Session,
    *,
    collection: str | None,
    label: str | None = None,
    asked: Filter = EVERYTHING,
    before: UUID | None,
    limit: int,
) -> list[ImageRow]:
    """Up to `limit` images, newest first (ids are UUIDv7), older than `before`, of a label, passing a filter."""
    older = [] if before is None else [Image.id < before]
    if asked:
        asked = both(asked, of_label(label))
        ids: Any = find_passing(session, asked, collection=collection, before=before, limit=limit)
    elif collection is None and label is None:
        present = text(f"image.collection_id {NOT_DELETED}")
        ids = select(Image.id).where(present, *older).order_by(Image.id.desc()).limit(limit)
    else:
        named = [PRESENT] if collection is None else [PRESENT, Collection.name == collection]
        groups: dict[Any, list[Any]] = {Image.collection_id: list(session.scalars(select(Collection.id).where(*named)))}
        if label is not None:
            groups = {Image.label: [label], **groups}
        ids = page_ids(Image.id, groups, *older, limit=limit)
    statement = _images().where(Image.id.in_(ids)).order_by(Image.id.desc())
    return [ImageRow(*row) for row in session.execute(statement)]


def check_images_in(session: Session, image_ids: Sequence[UUID], names: Iterable[str] | None) -> None:
    """Raises NotFound for an image that is in no collection of these names; None: of any."""
    named = select(Collection.id).where(PRESENT, *([] if names is None else [Collection.name.in_(names)]))
    seen = set(session.scalars(select(Image.id).where(Image.id.in_(image_ids), Image.collection_id.in_(named))))
    for image_id in image_ids:
        if image_id not in seen:
            raise NotFound(f"There is no image {image_id}.")


def merged_metadata(before: Mapping[str, Any], patch: Any) -> dict[str, Any]:
    """The metadata after a JSON Merge Patch. Raises InvalidInput where it would become more than is kept."""
    try:
        return check_object(merged(before, patch) or {})
    except ValueError as error:
        raise InvalidInput(f"The metadata would become more than is kept: it {error}.") from error


def update_image(session: Session, image: ImageRow, changes: Mapping[str, Any]) -> None:
    """Change the `label` and `external_id` of an image of `lock_image`, and its `metadata` by a JSON Merge Patch.

    Raises InvalidInput, ExternalIdTaken.
    """
    values = dict(changes)
    if values.get("external_id") is not None:
        external_ids.check_free(session, image.id, values["external_id"])
    if "metadata" in values:
        values["metadata"] = merged_metadata(image.meta, values["metadata"])
    table = Image.__table__
    session.execute(update(table).where(table.c.id == image.id).values(values))  # type: ignore[arg-type]


def delete_images(session: Session, images: Sequence[UUID]) -> list[UUID]:
    """Remove images for ever, with their embeddings. Returns cleanups of their bytes, which are to go next.

    A crash in between leaves the bytes to the sweep.
    """
    statement = delete(Image).where(Image.id.in_(images)).returning(Image.blob_key)
    return blob_cleanups.insert_cleanups(session, list(session.scalars(statement)))


def _status() -> ColumnElement[str]:
    """`indexed` for an image with a vector of our own, else the state of the newest item that was to give it one."""
    external = select(ModelVersion.id).where(ModelVersion.architecture == EXTERNAL)
    indexed = exists().where(Embedding.image_id == Image.id, Embedding.model_version_id.not_in(external))
    newest = (
        select(JobItem.state)
        .where(JobItem.image_id == Image.id, JobItem.state != ItemState.DUPLICATE, JobItem.queue.not_in(LATER_QUEUES))
        .order_by(JobItem.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return case((indexed, ItemState.INDEXED), else_=func.coalesce(newest, ItemState.PENDING))


def _images() -> Select[*tuple[Any, ...]]:
    """All images of present collections, as `ImageRow` has them."""
    return select(
        Image.id,
        Collection.name,
        Image.sha256,
        Image.blob_key,
        Image.media_type,
        Image.size,
        Image.width,
        Image.height,
        Image.name,
        Image.external_id,
        Image.label,
        Image.meta,
        Image.note,
        Image.created_at,
        Image.replaced_at,
        _status().label("status"),
    ).join(Collection, (Collection.id == Image.collection_id) & PRESENT)


def remove_image(
    transaction: Transaction,
    blobs: Blobs,
    image_id: UUID,
    *,
    keep: bool = False,
    check: Callable[[ImageRow], None] = lambda _: None,
) -> ImageRow:
    """Remove an image; what it was. keep: in the trash, else for ever. Raises NotFound.

    check: raises what keeps the image from being removed.
    """
    with transaction() as session:
        items.lock_items_of_image(session, image_id)
        check(image := get_image(session, image_id, lock=True))
        if keep:
            trash.move_to_trash(session, [image_id])
            return image
        cleanups = delete_images(session, [image_id])
    with transaction() as session:
        clean_up_blobs(session, blobs, blob_cleanups.claim_cleanups(session, cleanups))
    return image

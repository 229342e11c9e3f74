"""Taking a picture in: its bytes to the blob store; its row, job and item to the ledger in one transaction."""

import hashlib
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.errors import Conflict, InvalidInput, UmbelError
from umbel.base.image_rules import ImageInfo, inspect
from umbel.base.settings import Settings
from umbel.base.types import ItemState, JobType, Queue
from umbel.gallery import blob_cleanups, collections, images, quotas
from umbel.gallery.blob_cleanups import blob_key
from umbel.jobs import items, jobs

DEFAULT_COLLECTION = "default"


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture as it arrived. name: its file name or path, for people only."""

    data: bytes
    collection: str = DEFAULT_COLLECTION
    name: str | None = None
    label: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    job_id: UUID | None = None  # an open import job that this picture belongs to
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of an upload. job_id: the job that embeds the image, an earlier one if it is a duplicate."""

    image_id: UUID
    job_id: UUID | None
    duplicate: bool
    queue: Queue


@dataclass(frozen=True, slots=True)
class Checked:
    """An upload that is a picture. key: where the blob store has its bytes, or will."""

    upload: Upload
    info: ImageInfo
    digest: bytes
    key: str

    def row(self, collection_id: UUID) -> images.NewImage:
        """What becomes of it in its collection."""
        return images.NewImage(
            collection_id=collection_id,
            sha256=self.digest,
            blob_key=self.key,
            media_type=self.info.media_type,
            size=len(self.upload.data),
            width=self.info.width,
            height=self.info.height,
            name=self.upload.name,
            label=self.upload.label,
            meta=self.upload.metadata,
        )


def check(upload: Upload, limits: Settings) -> Checked:
    """Raises ImageError."""
    info = inspect(upload.data, limits)
    digest = hashlib.sha256(upload.data).digest()
    return Checked(upload, info, digest, blob_key(upload.collection, digest))


def add_image(transaction: Transaction, blobs: Blobs, limits: Settings, upload: Upload) -> Accepted:
    """Store a picture and queue its embedding; or recognise bytes that the collection has already.

    Bytes are noted as in doubt before they are written, so that none is left behind by whatever fails in between.
    Raises ImageError, StorageFull, QuotaExceeded, NotFound, Conflict (closed job, or an idempotency key used for
    other bytes).
    """
    return add_checked(transaction, blobs, check(upload, limits))


def add_checked(transaction: Transaction, blobs: Blobs, checked: Checked) -> Accepted:
    """As `add_image`, of a picture that was looked at already."""
    upload, digest, key = checked.upload, checked.digest, checked.key
    with transaction() as session:
        if upload.idempotency_key and (again := _repeated(session, upload.idempotency_key, digest)):
            return again
        notes = list(blob_cleanups.insert_cleanups_of_new(session, [(key, upload.collection, digest)]).values())
    with transaction() as session:
        blob_cleanups.take_cleanups(session, notes)
        if upload.idempotency_key:  # another may have come with it since
            used = jobs.lock_idempotency_keys(session, [upload.idempotency_key])
            if used and (again := _repeated(session, upload.idempotency_key, digest)):
                return again
        collection_id, paused = _place_of(session, upload)
        if notes:
            blob_cleanups.lock_blobs(session, [key])
            if room := quotas.lock_rooms(session, [collection_id]).get(collection_id):
                room.take(len(upload.data))
            if (image_id := images.insert_image(session, checked.row(collection_id))) is not None:
                blobs.put(key, upload.data)  # inside the transaction: no row is ever committed without its bytes
                return _queued(session, upload, collection_id, image_id, paused=paused)
        known = images.find_image_by_sha256(session, collection_id, digest)
        if known is None:
            raise Conflict("The same picture was added and removed by others meanwhile; send it again.")
        return _known(session, upload, collection_id, known, paused=paused)


def refuse_image(session: Session, upload: Upload, error: UmbelError) -> None:
    """Record a failed item for a rejected picture in its import job, if that is open and of its collection."""
    if upload.job_id is None:
        return
    job = jobs.get_open_job(session, upload.job_id)
    name = jobs.find_collection_name(session, upload.job_id)
    if job and job.type == JobType.IMPORT and name == upload.collection:
        items.insert_item(
            session,
            upload.job_id,
            image_id=None,
            queue=Queue.BULK,
            name=upload.name,
            state=ItemState.FAILED,
            error=(error.code, error.detail),
        )


def _repeated(session: Session, key: str, digest: bytes) -> Accepted | None:
    """The answer that was given to the first request with this idempotency key."""
    jobs.release_idempotency_key(session, key)
    found = jobs.find_job_by_idempotency_key(session, key)
    if found is None:
        return None
    job_id, image_id = found
    if image_id is None or images.get_image(session, image_id).sha256 != digest:
        raise Conflict("This Idempotency-Key was used for another picture.")
    return Accepted(image_id, job_id, duplicate=False, queue=Queue.SINGLE)


def _place_of(session: Session, upload: Upload) -> tuple[UUID, bool]:
    """The collection's id, and whether its job is paused."""
    if upload.job_id is None:
        return collections.upsert_collection(session, upload.collection), False
    job = jobs.get_open_job(session, upload.job_id)
    if job is None:
        raise Conflict(f"Job {upload.job_id} is closed: it takes no more pictures.")
    collection_id = collections.get_collection(session, upload.collection)
    if job.collection_id != collection_id or job.type != JobType.IMPORT:
        raise InvalidInput(f"Job {upload.job_id} is not an import into {upload.collection!r}.")
    return collection_id, job.paused


def _queued(session: Session, upload: Upload, collection_id: UUID, image_id: UUID, *, paused: bool) -> Accepted:
    if upload.job_id is not None:
        items.insert_item(session, upload.job_id, image_id=image_id, queue=Queue.BULK, name=upload.name, paused=paused)
        return Accepted(image_id, upload.job_id, duplicate=False, queue=Queue.BULK)
    job_id = jobs.insert_upload(
        session,
        collection_id=collection_id,
        image_id=image_id,
        name=upload.name,
        idempotency_key=upload.idempotency_key,
    )
    return Accepted(image_id, job_id, duplicate=False, queue=Queue.SINGLE)


def _known(session: Session, upload: Upload, collection_id: UUID, image_id: UUID, *, paused: bool) -> Accepted:
    """A duplicate; unless the earlier attempt at it came to nothing, which makes this a second one."""
    latest = items.find_job_of_image(session, image_id)
    if latest is None or latest[1] in (ItemState.FAILED, ItemState.CANCELLED):
        return _queued(session, upload, collection_id, image_id, paused=paused)
    if upload.job_id is not None:
        items.insert_item(
            session, upload.job_id, image_id=image_id, queue=Queue.BULK, name=upload.name, state=ItemState.DUPLICATE
        )
        return Accepted(image_id, upload.job_id, duplicate=True, queue=Queue.BULK)
    return Accepted(image_id, latest[0], duplicate=True, queue=Queue.SINGLE)

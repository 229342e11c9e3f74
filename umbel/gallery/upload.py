"""Uploads: images that callers send, taken in n ≥ 1 a transaction, with one wait for the disk for all of it.

Uploads that come at the same time are grouped. What is wrong with one of them is its own answer: if a group fails, each
of it is taken in by itself, by the same function.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from umbel.base import caller, logging
from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.errors import Conflict, InvalidInput, NotFound, UmbelError
from umbel.base.tables import Job
from umbel.base.types import ImageInfo, ItemState, JobType, Queue
from umbel.gallery import collections
from umbel.gallery.blob_cleanups import writing_blobs
from umbel.gallery.collections import Place
from umbel.gallery.storing import ReceivedImage, Refused, StoredImage, store_images
from umbel.jobs import idempotency, items, jobs
from umbel.jobs.idempotency import FirstAnswer, KeyedRequest
from umbel.jobs.jobs import NewUpload

log = structlog.get_logger()

DEFAULT_COLLECTION = "default"
LARGEST_GROUP = 32
WRITERS = 16  # files on their way to the blob store at once
LARGE = 4 * 2**20  # bytes; a larger upload goes alone, since others would wait until all of it is written


@dataclass(frozen=True, slots=True)
class Upload:
    """An image as it was sent. name: its file name or path, for people only; external_id: its sender's own.

    url: where `data` is from, if the sender gave that instead; repeated, it is the same whatever is there by then.
    """

    data: bytes
    collection: str = DEFAULT_COLLECTION
    name: str | None = None
    label: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    external_id: str | None = None
    job_id: UUID | None = None  # an open import that the image belongs to
    url: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of an upload. job_id: the job that embeds the image, an earlier one if it is a duplicate.

    Of a duplicate whose earlier job is not kept, a job of its own that says so.
    """

    image_id: UUID
    job_id: UUID
    duplicate: bool


@dataclass(eq=False, slots=True)
class PendingUpload:
    """An upload on its way in, with what is known of its request. answer: what became of it, None until it is known."""

    upload: Upload
    image: ReceivedImage
    request: KeyedRequest | None
    request_id: str | None = field(default_factory=logging.request_id)
    traceparent: str | None = field(default_factory=logging.traceparent)
    api_key_id: UUID | None = field(default_factory=caller.api_key_id)
    grouped: bool = False
    answer: Accepted | UmbelError | None = None


Look = Callable[[bytes], ImageInfo]  # what an image is, and that it decodes; raises ImageError, DecoderDied
Answers = dict[PendingUpload, Accepted | UmbelError]


class Uploader:
    """Takes uploads in; one a process. Any thread may bring one."""

    def __init__(self, transaction: Transaction, blobs: Blobs, look: Look) -> None:
        self._transaction, self._blobs, self._look = transaction, blobs, look
        self._waiting: deque[PendingUpload] = deque()
        self._lock = threading.Lock()
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")

    def add_image(self, upload: Upload) -> Accepted:
        """Store an image and queue its embedding; or recognize bytes that the collection has already.

        Raises ImageError, DecoderDied, StorageFull, QuotaExceeded, ExternalIdTaken, NotFound, Conflict (closed job),
        IdempotencyKeyReused, and InvalidInput for a job that takes no uploads of the collection, or text that
        Postgres does not take.
        """
        info = self._look(upload.data)
        image = ReceivedImage.of(
            upload.data,
            info,
            upload.collection,
            name=upload.name,
            label=upload.label,
            meta=upload.metadata,
            external_id=upload.external_id,
        )
        pending = PendingUpload(upload, image, _keyed(upload, image.sha256))
        if len(upload.data) <= LARGE:
            self._waiting.append(pending)
            with self._lock:  # while one group is stored, the next one gathers
                if not pending.grouped:
                    self._store_group([self._waiting.popleft() for _ in range(min(LARGEST_GROUP, len(self._waiting)))])
        if pending.answer is None:
            try:
                self._store([pending])
            except DataError as error:
                reason = str(error.orig).split("\n", 1)[0].rstrip(".")
                raise InvalidInput(f"The database does not take this: {reason}.") from error
        if not isinstance(pending.answer, Accepted):
            assert pending.answer is not None
            raise pending.answer
        return pending.answer

    def _store_group(self, group: Sequence[PendingUpload]) -> None:
        """Give most of them their answers; those that are left are stored each by itself."""
        for pending in group:
            pending.grouped = True
        try:
            self._store(_distinct(group))
        except Exception as error:  # whatever it is: only the upload that it concerns is to have it for an answer
            log.warning("uploads are stored one by one", uploads=len(group), error=str(error))

    def _store(self, group: Sequence[PendingUpload]) -> None:
        """Give each upload its answer, unless storing them fails."""
        with writing_blobs(self._transaction, [pending.image.blob_key for pending in group]) as session:
            answers = self._answers(session, group)
        for pending, answer in answers.items():
            pending.answer = answer

    def _answers(self, session: Session, group: Sequence[PendingUpload]) -> Answers:
        answers = _first_answers(session, group)
        left = [pending for pending in group if pending not in answers]
        places, imports = _locked(session, left)
        answers |= {each: error for each in left if (error := _misplaced(each.upload, places, imports))}
        received = {each: each.image for each in left if each not in answers}
        stored = store_images(session, self._blobs, self._writers, received, places)
        return answers | _queued(session, stored, places, imports)


def find_accepted(session: Session, upload: Upload) -> Accepted | None:
    """What became of the first upload by this URL under this key, if there was one. Raises IdempotencyKeyReused."""
    first = idempotency.find_first_answer(session, _keyed(upload, b""))
    return _accepted(first) if first else None


def reject_image(session: Session, upload: Upload, error: UmbelError) -> None:
    """Record a failed item for a rejected image in its job, once for each key, if the job takes such uploads.

    Raises IdempotencyKeyReused.
    """
    job = jobs.lock_jobs(session, [upload.job_id]).get(upload.job_id) if upload.job_id else None
    if job is None or _misplaced(upload, collections.lock_collections(session, [upload.collection]), {job.id: job}):
        return
    request = _keyed(upload, sha256(upload.data).digest())
    if idempotency.find_first_answer(session, request):
        return
    failure = error.code, error.detail
    items.insert_item(
        session, job.id, image_id=None, queue=Queue.BULK, name=upload.name, state=ItemState.FAILED, error=failure
    )
    if request:
        idempotency.insert_answers(session, {request: FirstAnswer(job.id)})


def _distinct(group: Sequence[PendingUpload]) -> list[PendingUpload]:
    """Of those with the same bytes, key or external id, the first: the others are to find it stored."""
    distinct: list[PendingUpload] = []
    seen: set[object] = set()
    for pending in group:
        upload = pending.upload
        own = (upload.collection, upload.external_id) if upload.external_id is not None else None
        marks = {pending.image.blob_key, upload.idempotency_key, own} - {None}
        if seen.isdisjoint(marks):
            distinct.append(pending)
        seen |= marks
    return distinct


def _keyed(upload: Upload, digest: bytes) -> KeyedRequest | None:
    """digest: SHA-256 of the upload's bytes."""
    return idempotency.keyed_request(
        upload.idempotency_key,
        **({"sha256": digest.hex()} if upload.url is None else {"url": upload.url}),
        collection=upload.collection,
        name=upload.name,
        label=upload.label,
        metadata=upload.metadata,
        external_id=upload.external_id,
        job_id=upload.job_id,
    )


def _first_answers(session: Session, group: Sequence[PendingUpload]) -> Answers:
    """Of requests that are repeated, or came under a key of another."""
    keyed = {pending.request: pending for pending in group if pending.request}
    answers: Answers = {}
    for request, first in idempotency.find_first_answers(session, list(keyed)).items():
        if isinstance(first, UmbelError):
            answers[keyed[request]] = first
        elif accepted := _accepted(first):
            answers[keyed[request]] = accepted
    return answers


def _accepted(first: FirstAnswer) -> Accepted | None:
    """None where it was rejected before: what it lacked may be there now."""
    return Accepted(first.image_id, first.job_id, first.duplicate) if first.image_id else None


def _locked(session: Session, group: Sequence[PendingUpload]) -> tuple[dict[str, Place], dict[UUID, Job]]:
    """The uploads' collections, made if they are new, and their jobs; they stay as they are until the commit."""
    places = collections.lock_collections(session, {pending.upload.collection for pending in group})
    missing = {pending.upload.collection for pending in group if not pending.upload.job_id} - set(places)
    for name in sorted(missing):
        collections.upsert_collection(session, name)
    if missing:
        places |= collections.lock_collections(session, missing)
    return places, jobs.lock_jobs(session, {pending.upload.job_id for pending in group if pending.upload.job_id})


def _misplaced(upload: Upload, places: dict[str, Place], imports: dict[UUID, Job]) -> UmbelError | None:
    """Why the upload's job does not take it."""
    if upload.job_id is None:
        return None
    job, place = imports.get(upload.job_id), places.get(upload.collection)
    if job is None:
        return NotFound(f"There is no job {upload.job_id}.")
    if job.closed:
        return Conflict(f"Job {upload.job_id} is closed: it takes no more pictures.")
    if place is None:
        return NotFound(f"There is no collection called {upload.collection!r}.")
    if job.collection_id != place.id or job.type != JobType.IMPORT:
        return InvalidInput(f"Job {upload.job_id} is not an import into {upload.collection!r}.")
    return None


def _queued(
    session: Session,
    stored: dict[PendingUpload, StoredImage | Refused],
    places: dict[str, Place],
    imports: dict[UUID, Job],
) -> Answers:
    """Insert items for images that are to be embedded, and for duplicates in imports, or that no job tells of.

    Returns the answers, kept.
    """
    answers: Answers = {}
    new: list[NewUpload] = []
    for pending, image in stored.items():
        upload = pending.upload
        if not isinstance(image, StoredImage):
            answers[pending] = image
        elif image.job_id is None or upload.job_id:
            new.append(
                NewUpload(
                    collection_id=places[upload.collection].id,
                    image_id=image.id,
                    name=upload.name,
                    job_id=upload.job_id,
                    duplicate=not image.to_embed,
                    request_id=pending.request_id,
                    traceparent=pending.traceparent,
                    api_key_id=pending.api_key_id,
                )
            )
    job_of = jobs.insert_uploads(session, new)
    for pending, image in stored.items():
        if isinstance(image, StoredImage):
            job_id = job_of.get(image.id) or image.job_id
            assert job_id is not None
            answers[pending] = Accepted(image.id, job_id, duplicate=not image.to_embed)
    kept = {
        pending.request: FirstAnswer(answer.job_id, answer.image_id, answer.duplicate)
        for pending, answer in answers.items()
        if pending.request and isinstance(answer, Accepted)
    }
    idempotency.insert_answers(session, kept)
    return answers

"""Uploads that come at the same time are taken in together: one transaction, and one wait for the disk, for all.

Only what is simply a new picture of ordinary size goes that way. Whatever else an upload may be (a duplicate, a
repeated request, too much for a quota, meant for a job that is closed), and whatever fails, is left to
`ingest.add_checked`, one by one: so there is one place that decides what becomes of it, and nobody's trouble is
another's.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog
from sqlalchemy.orm import Session

from umbel.base import origin
from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.errors import UmbelError
from umbel.base.settings import Settings
from umbel.base.types import Queue
from umbel.gallery import blob_cleanups, collections, ingest, uploads
from umbel.gallery.ingest import Accepted, Checked, Upload
from umbel.gallery.uploads import NewUpload
from umbel.jobs import jobs

log = structlog.get_logger()

MOST = 32  # pictures of one transaction
WRITERS = 16  # files on their way to the blob store at once
LARGE = 4 * 2**20  # bytes: who brings more goes alone, since others would wait until all of it is written


@dataclass(eq=False, slots=True)
class Guest:
    """An upload that waits to be taken in, with what is known of its request."""

    checked: Checked
    request_id: str | None = field(default_factory=origin.request_id)
    traceparent: str | None = field(default_factory=origin.traceparent)
    seen: bool = False  # it was with those of a transaction
    accepted: Accepted | None = None  # and came in

    @property
    def upload(self) -> Upload:
        return self.checked.upload


class Intake:
    """Takes uploads in; one a process. Any thread may bring one."""

    def __init__(self, transaction: Transaction, blobs: Blobs, limits: Settings) -> None:
        self._transaction, self._blobs, self._limits = transaction, blobs, limits
        self._waiting: deque[Guest] = deque()
        self._door = threading.Lock()
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")

    def add_image(self, upload: Upload) -> Accepted:
        """As `ingest.add_image`."""
        guest = Guest(ingest.check(upload, self._limits))
        if len(upload.data) > LARGE:
            return ingest.add_checked(self._transaction, self._blobs, guest.checked)
        self._waiting.append(guest)
        with self._door:  # while one thread is at it, the others come together
            if not guest.seen:
                self._take_in([self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))])
        return guest.accepted or ingest.add_checked(self._transaction, self._blobs, guest.checked)

    def _take_in(self, guests: Sequence[Guest]) -> None:
        for guest in guests:
            guest.seen = True
        try:
            self._add(guests)
        except UmbelError as error:  # each of them will find out by itself whether it concerns it
            log.warning("uploads are taken in one by one", uploads=len(guests), error=error.detail)

    def _add(self, guests: Sequence[Guest]) -> None:
        new = {guest.checked.key: guest for guest in guests}  # of the same bytes sent twice, one; the other comes later
        with self._transaction() as session:
            pictures = [(key, guest.upload.collection, guest.checked.digest) for key, guest in new.items()]
            notes = blob_cleanups.insert_cleanups_of_new(session, pictures)
        if not notes:
            return
        with self._transaction() as session:
            first = self._first_with_their_keys(session, [new[key] for key in notes])
            rows = self._rows(session, first)
            blob_cleanups.take_cleanups(session, [notes[key] for key in rows])
            blob_cleanups.lock_blobs(session, rows)
            added = uploads.insert_uploads(session, list(rows.values()))
            # Inside the transaction: no row is ever committed without its bytes.
            for _ in self._writers.map(lambda key: self._blobs.put(key, new[key].upload.data), added):
                pass
        for key, (image_id, job_id) in added.items():
            queue = Queue.BULK if new[key].upload.job_id else Queue.SINGLE
            new[key].accepted = Accepted(image_id, job_id, duplicate=False, queue=queue)

    def _first_with_their_keys(self, session: Session, guests: Sequence[Guest]) -> list[Guest]:
        """Those with an idempotency key that nobody has used, or with none."""
        keyed = {guest.upload.idempotency_key: guest for guest in guests if guest.upload.idempotency_key}
        used = jobs.lock_idempotency_keys(session, [key for key in keyed if key]) if keyed else set()
        return [
            guest
            for guest in guests
            if not (key := guest.upload.idempotency_key) or (key not in used and keyed[key] is guest)
        ]

    def _rows(self, session: Session, guests: Sequence[Guest]) -> dict[str, NewUpload]:
        """Those that have a place: in a collection without a quota and, if they are for a job, in an open import."""
        places = collections.keep_boundless(session, {guest.upload.collection for guest in guests})
        wanted = {guest.upload.job_id for guest in guests if guest.upload.job_id}
        imports = jobs.keep_open_imports(session, wanted) if wanted else {}
        rows = {}
        for guest in guests:
            collection_id, job = places.get(guest.upload.collection), None
            if collection_id is None:
                continue
            if guest.upload.job_id:
                job = imports.get(guest.upload.job_id)
                if job is None or job.collection_id != collection_id:
                    continue
            rows[guest.checked.key] = NewUpload(
                guest.checked.row(collection_id),
                job_id=job.id if job else None,
                paused=job is not None and job.paused,
                idempotency_key=None if job else guest.upload.idempotency_key,
                request_id=guest.request_id,
                traceparent=guest.traceparent,
            )
        return rows

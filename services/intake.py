"""Uploads that come at the same time are taken in together: one transaction, and one wait for the disk, for all.

Only what is simply a new picture goes that way. Whatever else an upload may be (a duplicate, a repeated request, too
much for a quota, meant for a job that is sealed), and whatever fails, is left to `ingest.add_checked`, one by one: so
there is one place that decides what becomes of it, and nobody's trouble is another's.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog
from sqlalchemy.orm import Session

from core import origin
from core.blobs import Blobs
from core.errors import UmbelError
from core.settings import Settings
from core.types import Lane
from db import blob_notes, collections, images, jobs, uploads
from db.session import Transaction
from db.uploads import NewUpload
from services import ingest
from services.ingest import Accepted, Checked, Upload

log = structlog.get_logger()

MOST = 32  # pictures of one transaction
WRITERS = 8  # files on their way to the disk at once


@dataclass(eq=False, slots=True)
class Guest:
    """An upload that waits to be taken in, with what is known of its request."""

    checked: Checked
    request_id: str | None = field(default_factory=origin.request_id)
    traceparent: str | None = field(default_factory=origin.traceparent)
    seen: bool = False  # it was with those of a transaction
    accepted: Accepted | None = None  # and came in


class Intake:
    """Takes uploads in; one a process. Any thread may bring one."""

    def __init__(self, transaction: Transaction, blobs: Blobs, limits: Settings) -> None:
        self._transaction, self._blobs, self._limits = transaction, blobs, limits
        self._waiting: deque[Guest] = deque()
        self._door = threading.Lock()
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")

    def add_image(self, upload: Upload) -> Accepted:
        """As `ingest.add_image`."""
        checked = ingest.check(upload, self._limits)
        if upload.idempotency_key is None:
            guest = Guest(checked)
            self._waiting.append(guest)
            with self._door:  # while one thread is at it, the others come together
                if not guest.seen:
                    self._take_in([self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))])
            if guest.accepted is not None:
                return guest.accepted
        return ingest.add_checked(self._transaction, self._blobs, checked)

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
            pictures = [(key, guest.checked.upload.collection, guest.checked.digest) for key, guest in new.items()]
            notes = blob_notes.insert_notes_of_new(session, pictures)
        with self._transaction() as session:
            rows = self._rows(session, {key: new[key] for key in notes})
            blob_notes.take_notes(session, [notes[key] for key in rows])
            images.lock_blobs(session, rows)
            added = uploads.insert_uploads(session, list(rows.values()))
            # Inside the transaction: no row is ever committed without its bytes.
            for _ in self._writers.map(lambda key: self._blobs.put(key, new[key].checked.upload.data), added):
                pass
        for key, (image_id, job_id) in added.items():
            lane = Lane.BULK if new[key].checked.upload.job_id else Lane.SINGLE
            new[key].accepted = Accepted(image_id, job_id, duplicate=False, lane=lane)

    def _rows(self, session: Session, new: dict[str, Guest]) -> dict[str, NewUpload]:
        """Those that have a place: in a collection without a quota and, if they are for a job, in an open import."""
        names = {guest.checked.upload.collection for guest in new.values()}
        places = collections.keep_boundless(session, names)
        wanted = {guest.checked.upload.job_id for guest in new.values()} - {None}
        imports = jobs.keep_open_imports(session, [job for job in wanted if job]) if wanted else {}
        rows = {}
        for key, guest in new.items():
            upload = guest.checked.upload
            collection_id = places.get(upload.collection)
            if collection_id is None:
                continue
            if upload.job_id and (
                upload.job_id not in imports or imports[upload.job_id].collection_id != collection_id
            ):
                continue
            held = upload.job_id is not None and imports[upload.job_id].paused
            rows[key] = NewUpload(
                guest.checked.row(collection_id), upload.job_id, held, guest.request_id, guest.traceparent
            )
        return rows

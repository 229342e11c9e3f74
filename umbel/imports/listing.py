"""Listing the sources of imports into the ledger, a chunk a transaction; killed anywhere, it goes on from there."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import PurePosixPath
from uuid import UUID

import structlog
from sqlalchemy.orm import Session
from umbel_files.names import folder_label
from umbel_files.tally import Tally

from umbel.base.database import Transaction
from umbel.base.errors import SourceError, SourceGivenUp, TransientError, UmbelError, Unreachable
from umbel.base.in_place import Location
from umbel.base.locks import only_one
from umbel.base.progress import progress
from umbel.base.settings import Settings
from umbel.base.tables import ImportSource, Job
from umbel.base.types import Queue
from umbel.gallery.locations import find_known
from umbel.imports import entries, source_rows
from umbel.imports.entries import NewEntry
from umbel.imports.sources import Entry, Skipped, Source
from umbel.imports.sync import comparing
from umbel.jobs import claims, job_log, jobs
from umbel.jobs.outcomes import retry_transient
from umbel.models.indexing import defer_index

log = structlog.get_logger()

CHUNK = 1_000

OpenSource = Callable[[UUID], Source]
Entries = Iterator[Entry | Skipped]


class Lister:
    """Lists sources; what it has open between two chunks spares beginning anew for each."""

    def __init__(self, transaction: Transaction, opened: OpenSource, settings: Settings) -> None:
        self._transaction, self._opened, self._settings = transaction, opened, settings
        self._open: tuple[UUID, str | None, Entries] | None = None

    def list_chunk(self, job_id: UUID) -> bool:
        """List some more of a job's source. False where nothing is left, where it waits for its next try or for room.

        No transaction is open while the source is asked. One worker lists a source at a time; should two do so all the
        same, the one that is late writes nothing down.
        """
        if self._find(job_id) is None:
            return False
        with only_one(f"list {job_id}") as ours:
            source = self._find(job_id) if ours else None
            if source is None or not self._has_room():
                return False
            found, error = self._read(source)
            retry_transient(lambda: self._write(source, found, error))
        return True

    def forget(self) -> None:
        """What is open is about to be closed."""
        self._open = None

    def _find(self, job_id: UUID) -> ImportSource | None:
        with self._transaction() as session:
            return source_rows.find_unlisted(session, job_id)

    def _has_room(self) -> bool:
        with self._transaction() as session:
            return claims.count_pending(session) < self._settings.max_pending

    def _read(self, source: ImportSource) -> tuple[list[Entry | Skipped], SourceError | TransientError | None]:
        """The next entries, and what kept more from coming."""
        found: list[Entry | Skipped] = []
        try:
            entries = self._entries(source)
            for entry in islice(entries, CHUNK):
                found.append(entry)  # one by one: a source that breaks off has listed what came before
        except (SourceError, TransientError) as error:
            self._open = None
            return found, error
        more = len(found) == CHUNK
        self._open = (source.job_id, found[-1].position, entries) if more else None
        return found, None

    def _entries(self, source: ImportSource) -> Entries:
        """From the source's position on: what is open, unless that is elsewhere, as after a transaction that failed."""
        if self._open and self._open[:2] == (source.job_id, source.position):
            return self._open[2]
        return self._opened(source.job_id).entries(source.position)

    def _write(
        self, read: ImportSource, found: list[Entry | Skipped], error: SourceError | TransientError | None
    ) -> None:
        with self._transaction() as session:
            source = source_rows.lock_source(session, read.job_id)
            if source.done or source.position != read.position:
                return  # cancelled meanwhile, or listed by another worker
            added = _write_down(session, source, found)
            if isinstance(error, TransientError):
                bounded = isinstance(error, Unreachable)  # not where the blob store that holds an archive is away
                note_unreachable(session, source, error.detail, self._settings, bounded=bounded)
            elif error or len(found) < CHUNK:
                _end(session, source, error)
            if added:
                defer_index(session, source.job_id, self._settings, added=added)


def note_unreachable(
    session: Session, source: ImportSource, reason: str, settings: Settings, *, bounded: bool = True
) -> None:
    """A locked source cannot be reached: it is tried again later or, if `bounded`, given up in the end.

    reason: a sentence. A try that more than one failure tells of counts once.
    """
    if source.given_up or not source_rows.is_due(session, source):
        return
    log.warning("a source cannot be reached", job_id=str(source.job_id), tries=source.retries + 1, error=reason)
    source_rows.postpone_source(session, source, reason, tries=settings.source_tries if bounded else None)
    if source.given_up:
        _end(session, source, SourceGivenUp(source.error or reason))


def _write_down(session: Session, source: ImportSource, found: list[Entry | Skipped]) -> int:
    """Keep what was found, and how far the source was read. Returns how many items the job has got."""
    listed = [entry for entry in found if isinstance(entry, Entry)]
    run = comparing.find_run(session, source.job_id)
    added = listed if run is None else comparing.note_found(session, run, listed)
    if added and not source.dry_run:
        job = jobs.get_job(session, source.job_id)
        rows = _rows(session, job, source, added)
        entries.insert_entries(session, source.job_id, rows)
        for row in rows:
            if row.error:
                named = {"request_id": job.request_id, "job_id": str(job.id), "name": row.name}
                job_log.failed_at_once(Queue.FETCH, row.error, **named)
        progress.note()
    source.listed += len(listed)
    source.rejected += sum(entry.rejected is not None for entry in listed)
    skipped = Tally(source.skipped_by_kind)
    for entry in found:
        if isinstance(entry, Skipped):
            skipped.add(entry.name, None, hidden=entry.hidden)
    source.skipped, source.skipped_by_kind = skipped.total, skipped.counts()
    if found:
        source.position, source.retries, source.error, source.failing_since = found[-1].position, 0, None, None
    session.flush()
    return 0 if source.dry_run else len(added)


def _end(session: Session, source: ImportSource, error: UmbelError | None) -> None:
    run = comparing.find_run(session, source.job_id)
    if run is not None and error is None and comparing.begins_again(session, source, run):
        return
    source.done = True
    session.flush()
    named = {"request_id": jobs.get_job(session, source.job_id).request_id, "job_id": str(source.job_id)}
    log.info("source listed", **named, listed=source.listed, error=error and error.detail)
    if run is not None:
        error = comparing.end_listing(session, source, run, error)
    elif error is None and source.listed == 0:
        skipped = f": {Tally(source.skipped_by_kind)}" if source.skipped else ""
        error = SourceError(f"There is no picture in it{skipped}.")
    if run is None or run.done:
        jobs.close_job(session, source.job_id)
    if error is not None:
        jobs.set_error(session, source.job_id, error)


def _rows(session: Session, job: Job, source: ImportSource, listed: list[Entry]) -> list[NewEntry]:
    """What stays in place and was read from there before, in the same version, needs no reading."""
    known: dict[Location, UUID] = {}
    if source.spec.get("in_place") and job.collection_id:
        known = find_known(session, job.collection_id, [entry.location for entry in listed if entry.location])
    return [_row(entry, source, known.get(entry.location) if entry.location else None) for entry in listed]


def _row(entry: Entry, source: ImportSource, image_id: UUID | None) -> NewEntry:
    rejected = (entry.rejected.code, entry.rejected.detail) if entry.rejected else None
    label = entry.label
    if source.label_from_folder and not label:
        top = PurePosixPath(source.spec.get("path") or source.spec.get("url") or "")
        label = folder_label((top / entry.name).parent.name)
    return NewEntry(entry.name, entry.locator, label, entry.metadata, rejected, entry.external_id, image_id)

"""Listing the sources of imports into the ledger, a chunk a transaction; killed anywhere, it goes on from there."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import PurePosixPath
from uuid import UUID

import structlog
from sqlalchemy.orm import Session
from umbel_files.names import folder_label
from umbel_files.tally import Tally

from umbel.base.errors import SourceError, TransientError
from umbel.base.progress import progress
from umbel.base.settings import Settings
from umbel.base.tables import ImportSource
from umbel.base.types import Queue
from umbel.imports import entries, source_rows
from umbel.imports.entries import NewEntry
from umbel.imports.sources import Entry, Skipped, Source
from umbel.jobs import claims, job_log, jobs
from umbel.models.indexing import defer_index

log = structlog.get_logger()

CHUNK = 1_000

OpenSource = Callable[[Session, UUID], Source]
Entries = Iterator[Entry | Skipped]


class Lister:
    """Lists sources; what it has open between two chunks spares beginning anew for each."""

    def __init__(self, opened: OpenSource, settings: Settings) -> None:
        self._opened, self._settings = opened, settings
        self._open: tuple[UUID, str | None, Entries] | None = None

    def list_chunk(self, session: Session) -> bool:
        """List some more of the oldest source that is not at its end. False where there is none, or no room for more.

        A source that cannot be reached is tried again later, and stops no other. A source stays locked to the end of
        the transaction, so no other worker lists it and a kill leaves no half chunk.
        """
        source = source_rows.claim_source(session)
        if source is None or claims.count_pending(session, self._settings.max_pending) >= self._settings.max_pending:
            return False
        found: list[Entry | Skipped] = []
        error: SourceError | TransientError | None = None
        try:
            entries = self._entries(session, source)
            for entry in islice(entries, CHUNK):
                found.append(entry)  # one by one: a source that breaks off has listed what came before
            self._open = (source.job_id, found[-1].position if found else source.position, entries)
        except (SourceError, TransientError) as failure:
            self._open, error = None, failure
        added = _write_down(session, source, found)
        if isinstance(error, TransientError):
            log.warning("a source cannot be reached", job_id=str(source.job_id), error=error.detail)
            source_rows.postpone_source(session, source.job_id)
        elif error or len(found) < CHUNK:
            self._open = None
            _end(session, source, error)
        if added:
            defer_index(session, source.job_id, self._settings, added=added)
        return True

    def _entries(self, session: Session, source: ImportSource) -> Entries:
        """From the source's position on: what is open, unless that is elsewhere, as after a transaction that failed."""
        if self._open and self._open[:2] == (source.job_id, source.position):
            return self._open[2]
        return self._opened(session, source.job_id).entries(source.position)


def _write_down(session: Session, source: ImportSource, found: list[Entry | Skipped]) -> int:
    """Keep what was found, and how far the source was read. Returns how many items the job has got."""
    listed = [entry for entry in found if isinstance(entry, Entry)]
    if listed and not source.dry_run:
        job = jobs.get_job(session, source.job_id)
        rows = [_row(entry, source) for entry in listed]
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
        source.position, source.retries = found[-1].position, 0
    session.flush()
    return 0 if source.dry_run else len(listed)


def _end(session: Session, source: ImportSource, error: SourceError | None) -> None:
    source.done = True
    session.flush()
    named = {"request_id": jobs.get_job(session, source.job_id).request_id, "job_id": str(source.job_id)}
    log.info("source listed", **named, listed=source.listed, error=error and error.detail)
    if error is None and source.listed == 0:
        skipped = f": {Tally(source.skipped_by_kind)}" if source.skipped else ""
        error = SourceError(f"There is no picture in it{skipped}.")
    jobs.close_job(session, source.job_id)
    if error is not None:
        jobs.change_job(session, source.job_id, error=error.detail)


def _row(entry: Entry, source: ImportSource) -> NewEntry:
    rejected = (entry.rejected.code, entry.rejected.detail) if entry.rejected else None
    label = entry.label
    if source.label_from_folder and not label:
        top = PurePosixPath(source.spec.get("path") or source.spec.get("url") or "")
        label = folder_label((top / entry.name).parent.name)
    return NewEntry(entry.name, entry.locator, label, entry.metadata, rejected)

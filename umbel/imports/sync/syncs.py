"""Syncs and their runs: added, found, listed, changed, removed; begun when they are due."""

from collections.abc import Collection as Names
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, exists, func, insert, select, text, update
from sqlalchemy.orm import Session, aliased

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.errors import Conflict, NotFound
from umbel.base.settings import Settings
from umbel.base.tables import Collection, ImportSource, Job, Sync, SyncFile, SyncRun
from umbel.base.types import JobStatus, JobType
from umbel.changes import bulk_rows
from umbel.gallery import collections
from umbel.gallery.collections import PRESENT
from umbel.imports import source_rows
from umbel.imports.sources import FolderSource, open_source
from umbel.imports.sources.source import S3Source
from umbel.jobs import jobs

AT_ONCE = 100  # runs begun by one sweep


@dataclass(frozen=True, slots=True)
class Run:
    """A run as people see it. report: how many files were new, changed, renamed, vanished, unchanged, failed.

    error: why nothing was removed, or not all was read. finished_at: of its job, whose images are embedded then.
    """

    job_id: UUID
    status: JobStatus
    dry_run: bool
    report: dict[str, Any]
    error_code: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class SyncState:
    """A sync as people see it. files: that are known; last: its newest run."""

    id: UUID
    collection: str
    spec: dict[str, Any]
    label_from_folder: bool
    every_seconds: int
    max_vanished: float
    adopt: bool
    paused: bool
    next_run: datetime
    created_by: str
    created_at: datetime
    files: int
    last: Run | None


def add_sync(
    transaction: Transaction,
    blobs: Blobs,
    settings: Settings,
    spec: FolderSource | S3Source,
    *,
    collection: str,
    label_from_folder: bool,
    every_seconds: int,
    max_vanished: float,
    adopt: bool,
    paused: bool,
    roots: Sequence[str] | None,
    created_by: str,
) -> UUID:
    """Follow a source from now on: its first run begins, unless it is paused. roots: see `open_source`.

    Raises SourceError where it cannot be opened, and Conflict where the collection follows it already.
    """
    open_source(spec, blobs, settings, roots=roots).close()  # what is wrong with it is better said now than in a run
    described = spec.model_dump(mode="json")
    with transaction() as session:
        collection_id = collections.upsert_collection(session, collection)
        same = select(Sync.id).where(Sync.collection_id == collection_id, Sync.spec == described)
        if other := session.scalar(same):
            raise Conflict(f"The collection {collection!r} follows this source already: sync {other}.")
        sync = Sync(
            collection_id=collection_id,
            spec=described,
            label_from_folder=label_from_folder,
            every_seconds=every_seconds,
            max_vanished=max_vanished,
            adopt=adopt,
            paused=paused,
            roots=None if roots is None else list(roots),
            created_by=created_by,
        )
        session.add(sync)
        session.flush()
        if not paused:
            _start(session, sync)
        return sync.id


def get_sync(session: Session, sync_id: UUID) -> SyncState:
    """Raises NotFound."""
    found = _states(session, _syncs().where(Sync.id == sync_id))
    if not found:
        raise NotFound(f"There is no sync {sync_id}.")
    return found[0]


def list_syncs(
    session: Session, *, before: UUID | None, limit: int, within: Names[str] | None = None
) -> list[SyncState]:
    """Up to `limit` syncs, newest first. within: of collections of these names only; None: all."""
    statement = _syncs().order_by(Sync.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(Sync.id < before)
    if within is not None:
        statement = statement.where(Collection.name.in_(within))
    return _states(session, statement)


def check_sync_in(session: Session, sync_id: UUID, names: Names[str]) -> None:
    """Raises NotFound, as for one that is not there, for a sync that is of none of these collections."""
    if get_sync(session, sync_id).collection not in names:
        raise NotFound(f"There is no sync {sync_id}.")


def change_sync(session: Session, sync_id: UUID, changes: Mapping[str, Any]) -> None:
    """Set `every_seconds`, `max_vanished` or `paused`. A shorter interval counts from now. Raises NotFound."""
    sync = _lock_sync(session, sync_id)
    for name, value in changes.items():
        setattr(sync, name, value)
    if "every_seconds" in changes:
        soon = func.now() + timedelta(seconds=sync.every_seconds)
        sync.next_run = func.least(Sync.next_run, soon)
    session.flush()


def remove_sync(session: Session, sync_id: UUID) -> None:
    """Follow the source no longer. Its images stay; what a run has listed is still read. Raises NotFound."""
    _lock_sync(session, sync_id)
    unfinished = select(SyncRun.job_id).where(SyncRun.sync_id == sync_id, ~SyncRun.done)
    for job_id in session.scalars(unfinished).all():
        source_rows.end_source(session, job_id)
        jobs.close_job(session, job_id)
    session.execute(delete(Sync).where(Sync.id == sync_id))


def start_run(session: Session, sync_id: UUID, *, dry_run: bool = False, allow_vanished: bool = False) -> UUID:
    """Begin a run, also of a paused sync; its job.

    dry_run: only to tell what it would do. allow_vanished: however many files are gone, their images are removed.
    Raises NotFound, and Conflict while another run of it goes on.
    """
    sync = _lock_sync(session, sync_id)
    if going_on := session.scalar(select(SyncRun.job_id).where(SyncRun.sync_id == sync_id, ~SyncRun.done)):
        raise Conflict(f"A run of sync {sync_id} goes on: job {going_on}.")
    return _start(session, sync, dry_run=dry_run, allow_vanished=allow_vanished)


def start_due_runs(session: Session) -> list[UUID]:
    """Begin the runs that are due, a sync's only when its last one is done; their jobs."""
    going_on = exists().where(SyncRun.sync_id == Sync.id, ~SyncRun.done)
    present = exists().where(Collection.id == Sync.collection_id, PRESENT)
    due = select(Sync).where(~Sync.paused, Sync.next_run <= func.now(), ~going_on, present)
    locked = due.order_by(Sync.next_run).limit(AT_ONCE).with_for_update(skip_locked=True)
    return [_start(session, sync) for sync in session.scalars(locked).all()]


def reopen_run(session: Session, job_id: UUID) -> None:
    """What failed in a run is tried again: what comes of it is to be noted, too. Nothing more is removed by it."""
    again = update(SyncRun).where(SyncRun.job_id == job_id, SyncRun.done)
    retried = SyncRun.report.op("||")(text("""'{"retried": true}'"""))
    session.execute(again.values(done=False, complete=False, position=None, report=retried))


def _start(session: Session, sync: Sync, *, dry_run: bool = False, allow_vanished: bool = False) -> UUID:
    job_id = jobs.insert_job(session, JobType.SYNC, collection_id=sync.collection_id, closed=False)
    source_rows.insert_source(
        session, job_id, sync.spec, label_from_folder=sync.label_from_folder, dry_run=dry_run, roots=sync.roots
    )
    bulk_rows.insert_removal(session, job_id)
    session.execute(insert(SyncRun).values(job_id=job_id, sync_id=sync.id, allow_vanished=allow_vanished))
    if not dry_run:
        sync.next_run = func.now() + timedelta(seconds=sync.every_seconds)
    session.flush()
    return job_id


def _lock_sync(session: Session, sync_id: UUID) -> Sync:
    present = exists().where(Collection.id == Sync.collection_id, PRESENT)
    statement = select(Sync).where(Sync.id == sync_id, present).with_for_update()
    sync = session.scalar(statement.execution_options(populate_existing=True))
    if sync is None:
        raise NotFound(f"There is no sync {sync_id}.")
    return sync


def _syncs() -> Select[Any]:
    files = select(func.count()).where(SyncFile.sync_id == Sync.id, SyncFile.image_id.is_not(None)).scalar_subquery()
    newest = aliased(SyncRun)
    last = select(newest.job_id).where(newest.sync_id == Sync.id).order_by(newest.job_id.desc()).limit(1)
    in_collection: ColumnElement[bool] = (Collection.id == Sync.collection_id) & PRESENT
    columns = (Sync, Collection.name, files, SyncRun, Job, ImportSource.dry_run)
    statement = (
        select(*columns).join(Collection, in_collection).outerjoin(SyncRun, SyncRun.job_id == last.scalar_subquery())
    )
    return statement.outerjoin(Job, Job.id == SyncRun.job_id).outerjoin(ImportSource, ImportSource.job_id == Job.id)


def _states(session: Session, statement: Select[Any]) -> list[SyncState]:
    found = []
    for sync, collection, files, run, job, dry_run in session.execute(statement):
        shown = ("id", "spec", "label_from_folder", "every_seconds", "max_vanished", "adopt", "paused", "next_run")
        fields = {name: getattr(sync, name) for name in (*shown, "created_by", "created_at")}
        last = run and Run(
            job_id=job.id,
            status=JobStatus(job.status),
            dry_run=dry_run,
            report=run.report,
            error_code=job.error_code,
            error=job.error,
            created_at=job.created_at,
            finished_at=job.finished_at,
        )
        found.append(SyncState(collection=collection, files=files, last=last, **fields))
    return found

"""The end of a run: what was read is noted at its paths, and the images of paths that are gone are removed.

A step a transaction; what is next is read from the rows, so a kill costs one step. Nothing is removed before all that
was new has been read: a file that was renamed has its image under the new path by then.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from psycopg.types.json import Jsonb
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from umbel.base.errors import (
    CorruptImage,
    DecoderDied,
    EmptyFile,
    FileTooLarge,
    ImageTooSmall,
    TooManyPixels,
    UnsupportedImage,
)
from umbel.base.tables import Image, JobItem, Sync, SyncRun
from umbel.base.types import ItemState, Queue
from umbel.changes import bulk_rows
from umbel.gallery import external_ids
from umbel.imports.sync.comparing import REJECTED, too_many
from umbel.jobs import items, jobs
from umbel.jobs.runner import StepHandler

log = structlog.get_logger()

BATCH = 500  # files at once: some hundredths of a second
# Why a file cannot be taken until it is another one; it is not read again before. Other reasons may pass.
LASTING = {
    error.code
    for error in (CorruptImage, DecoderDied, EmptyFile, FileTooLarge, ImageTooSmall, TooManyPixels, UnsupportedImage)
}

# Runs whose source is listed, and of which nothing is left to be read.
READY = """
SELECT r.job_id FROM sync_run r JOIN import_source s ON s.job_id = r.job_id JOIN job ON job.id = r.job_id
WHERE NOT r.done AND s.done AND NOT job.paused AND NOT EXISTS (
    SELECT FROM job_item i WHERE i.job_id = r.job_id AND i.queue = 'fetch' AND i.state = 'pending')
"""


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file of a sync as the run found it: see `SyncFile`."""

    locator: str
    version: str | None
    image_id: UUID | None
    brought: bool
    seen: UUID | None
    found: str | None


@dataclass(frozen=True, slots=True)
class Noted:
    """What becomes of a file's row. former: the sync's image there before. outcome: what the report counts."""

    version: str | None
    image_id: UUID | None
    brought: bool
    former: UUID | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Images:
    """Of the images that were read: those that are there, that are the sync's, and whose files had other paths."""

    there: frozenset[UUID]
    brought: frozenset[UUID]
    moved: frozenset[UUID]


@dataclass(kw_only=True, eq=False)
class SyncHandler(StepHandler):
    """Ends the runs of syncs; any number of handlers share the work."""

    wake: Callable[[Queue], object]

    queues = (Queue.FETCH, Queue.CHANGE)  # once all has been fetched, and with each sweep

    def step(self) -> bool:
        """Note some of what a run has read, or remove some of what is gone, or end it. False if there is no run."""
        with self.transaction() as session:
            statement = text(f"{READY} ORDER BY r.job_id LIMIT 1 FOR UPDATE OF r SKIP LOCKED")
            job_id = session.scalar(statement)
            if job_id is None:
                return False
            run = session.get_one(SyncRun, job_id, populate_existing=True)
            more = note_read(session, run) or take_away(session, run)
            if not more:
                end_run(session, run)
        if not more:
            self.wake(Queue.CHANGE)  # what is to be removed
        return True


def note_read(session: Session, run: SyncRun) -> bool:
    """Note what came of the next files that the run has read. False if none is left."""
    batch = items.list_items(session, run.job_id, state=None, after=run.position, limit=BATCH)
    if not batch:
        return False
    read = [item for item in batch if item.locator is not None]
    rows = _find(session, run, read)
    images = _images(session, run, [item.image_id for item in read if item.image_id])
    noted = {row.locator: note(item, row, images, run.job_id) for item in read if (row := rows.get(item.locator or ""))}
    _store(session, run, noted)
    renamed = {item.image_id: item.name for item in read if _outcome(noted, item) == "renamed"}
    session.execute(RENAME, {"images": list(renamed), "names": list(renamed.values())})
    if "retried" not in run.report:  # what was counted the first time stays
        run.report = _counted(run.report, (each.outcome for each in noted.values()))
    run.position = batch[-1].id
    session.flush()
    return True


def note(item: JobItem, row: FileRow, images: Images, run: UUID) -> Noted:
    """What becomes of a file's row by what came of reading it. run: the present one's job."""
    same = Noted(row.version, row.image_id, row.brought)
    if row.seen != run and row.image_id is not None:
        return same  # a later run knows better
    if item.image_id is not None and item.image_id in images.there:
        if item.image_id == row.image_id:
            return Noted(row.found, row.image_id, row.brought, outcome="unchanged")
        former = row.image_id if row.brought else None
        outcome = "changed" if row.image_id else "renamed" if item.image_id in images.moved else "new"
        return Noted(row.found, item.image_id, item.image_id in images.brought, former, outcome)
    if item.state != ItemState.FAILED:
        return same  # cancelled
    lasting = item.error_code in LASTING or (row.found or "").startswith(REJECTED)
    return Noted(row.found if lasting else row.version, row.image_id, row.brought, outcome="failed")


def take_away(session: Session, run: SyncRun) -> bool:
    """Have images removed whose paths are gone, or have others now. False if none is left, or the run may not."""
    if run.complete and "checked" not in run.report:
        vanished = session.scalar(MISSING, {"sync": run.sync_id, "run": run.job_id}) or 0
        run.report = {**run.report, "checked": True}
        if error := too_many(session, run, vanished):
            run.complete = False
            jobs.set_error(session, run.job_id, error)
    return run.complete and (_take_vanished(session, run) or _take_former(session, run))


def end_run(session: Session, run: SyncRun) -> None:
    """The run is done; its job has ended when its images are embedded, and those it removes are gone."""
    jobs.close_job(session, run.job_id)
    run.done = True
    session.flush()
    session.execute(FORGET_IDLE, {"sync": run.sync_id, "run": run.job_id})
    log.info("a sync has run", sync_id=str(run.sync_id), job_id=str(run.job_id), **_figures(run.report))


# Delete the jobs of earlier runs in which nothing came, went or failed otherwise than now: with a run every few minutes
# they would be most of all jobs.
FORGET_IDLE = text("""
    DELETE FROM job USING sync_run r, job newest
    WHERE r.job_id = job.id AND r.sync_id = :sync AND r.job_id < :run AND r.done AND newest.id = :run
      AND job.total = 0 AND job.finished_at IS NOT NULL AND (job.error IS NULL OR job.error = newest.error)
""")
# Find the files at these paths, which stay as they are until the transaction ends.
FIND = text("""
    SELECT f.locator, f.version, f.image_id, f.brought, f.seen, f.found
    FROM unnest(CAST(:locators AS text[])) given(locator)
    JOIN sync_file f ON f.sync_id = :sync AND sha256(f.locator::bytea) = sha256(given.locator::bytea)
    FOR UPDATE OF f
""")
# Those of these images that a run has brought: no item of another job was there before.
BROUGHT = text("""
    SELECT image.id FROM image WHERE id = ANY (:images) AND id > :run AND (
        SELECT job_id FROM job_item WHERE image_id = image.id ORDER BY job_item.id LIMIT 1) = :run
""")
# The files that have these images or had them before this run, and whether they have them no longer.
HAD = text("""
    SELECT image_id, brought, seen IS DISTINCT FROM :run AS gone FROM sync_file
    WHERE sync_id = :sync AND image_id = ANY (:images)
    UNION ALL SELECT unnest(former), true, true FROM sync_file
    WHERE sync_id = :sync AND former IS NOT NULL AND former && :images
""")
STORE = text("""
    UPDATE sync_file f SET version = given.version, image_id = given.image_id, brought = given.brought,
        former = CASE WHEN given.former IS NULL THEN f.former ELSE array_append(f.former, given.former) END
    FROM unnest(CAST(:locators AS text[]), CAST(:versions AS text[]), CAST(:images AS uuid[]), CAST(:brought AS bool[]),
                CAST(:former AS uuid[])) given(locator, version, image_id, brought, former)
    WHERE f.sync_id = :sync AND sha256(f.locator::bytea) = sha256(given.locator::bytea)
""")
RENAME = text("""
    UPDATE image SET name = given.name FROM unnest(CAST(:images AS uuid[]), CAST(:names AS text[])) given(id, name)
    WHERE image.id = given.id AND image.name IS DISTINCT FROM given.name
""")


def _find(session: Session, run: SyncRun, read: Sequence[JobItem]) -> dict[str, FileRow]:
    values = {"sync": run.sync_id, "locators": [item.locator for item in read]}
    return {row.locator: FileRow(*row) for row in session.execute(FIND, values)}


def _images(session: Session, run: SyncRun, ids: Sequence[UUID]) -> Images:
    """Those that are there are not removed before the transaction ends."""
    locked = select(Image.id).where(Image.id.in_(ids)).order_by(Image.id).with_for_update(read=True, key_share=True)
    there = frozenset(session.scalars(locked))
    values = {"sync": run.sync_id, "run": run.job_id, "images": list(there)}
    had = session.execute(HAD, values).all()
    sync = session.get_one(Sync, run.sync_id)
    brought = (
        there if sync.adopt else {*session.scalars(BROUGHT, values), *(row.image_id for row in had if row.brought)}
    )
    return Images(there, frozenset(brought), frozenset(row.image_id for row in had if row.gone))


def _store(session: Session, run: SyncRun, noted: Mapping[str, Noted]) -> None:
    values = {
        "sync": run.sync_id,
        "locators": list(noted),
        "versions": [each.version for each in noted.values()],
        "images": [each.image_id for each in noted.values()],
        "brought": [each.brought for each in noted.values()],
        "former": [each.former for each in noted.values()],
    }
    session.execute(STORE, values)


def _outcome(noted: Mapping[str, Noted], item: JobItem) -> str | None:
    found = noted.get(item.locator or "")
    return found.outcome if found else None


def _counted(report: Mapping[str, Any], outcomes: Iterable[str | None]) -> dict[str, Any]:
    counts = dict(report)
    for outcome in outcomes:
        if outcome is not None:
            counts[outcome] = counts.get(outcome, 0) + 1
    return counts


def _figures(report: Mapping[str, Any]) -> dict[str, int]:
    return {name: value for name, value in report.items() if type(value) is int}


# Count the files that are gone with their images: those that were renamed have theirs under another path.
MISSING = text("""
    SELECT count(*) FROM sync_file f WHERE sync_id = :sync AND seen IS DISTINCT FROM :run AND image_id IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM sync_file other WHERE other.sync_id = :sync AND other.seen = :run AND other.image_id = f.image_id)
""")
# Forget files that are gone; but not those that seem to have been renamed, while their new file cannot be read.
VANISHED = text("""
    DELETE FROM sync_file WHERE ctid = ANY (ARRAY(
        SELECT f.ctid FROM sync_file f WHERE f.sync_id = :sync AND f.seen IS DISTINCT FROM :run AND NOT EXISTS (
            SELECT FROM sync_file other WHERE other.sync_id = :sync AND other.seen = :run AND other.image_id IS NULL
            AND other.version IS NULL AND other.found = f.version)
        LIMIT :limit FOR UPDATE))
    RETURNING image_id, brought, former
""")
FORMER = text("""
    WITH next AS (
        SELECT ctid, former FROM sync_file WHERE sync_id = :sync AND former IS NOT NULL LIMIT :limit FOR UPDATE
    )
    UPDATE sync_file f SET former = NULL FROM next WHERE f.ctid = next.ctid RETURNING next.former, f.image_id
""")
# Of these images, those that no file has, of any sync, with their names.
UNHELD = text("""
    SELECT id, name FROM image WHERE id = ANY (:images) AND NOT EXISTS (SELECT FROM sync_file WHERE image_id = image.id)
    ORDER BY id
""")


# Read those files again that have these images, which were read in place where they are no longer: so they move.
READ_AGAIN = text("""
    UPDATE sync_file f SET version = NULL FROM image
    WHERE image.id = ANY (:images) AND starts_with(image.blob_key, 'in-place/') AND f.image_id = image.id
""")


def _take_vanished(session: Session, run: SyncRun) -> bool:
    gone = session.execute(VANISHED, {"sync": run.sync_id, "run": run.job_id, "limit": BATCH}).all()
    removed = _unheld(session, [row.image_id for row in gone if row.brought])
    removed |= _unheld(session, [former for row in gone for former in row.former or ()])
    bulk_rows.insert_removals(session, run.job_id, removed)
    run.report = {**run.report, "vanished": run.report.get("vanished", 0) + len(removed)}
    session.flush()
    return bool(gone)


def _take_former(session: Session, run: SyncRun) -> bool:
    """Images whose files have other pictures now. What people said of them is said of their successors."""
    rows = session.execute(FORMER, {"sync": run.sync_id, "limit": BATCH})
    replaced = {former: row.image_id for row in rows for former in row.former}
    removed = _unheld(session, list(replaced))
    _inherit(session, run, {former: replaced[former] for former in removed})
    bulk_rows.insert_removals(session, run.job_id, removed)
    return bool(replaced)


def _unheld(session: Session, images: Sequence[UUID | None]) -> dict[UUID, str | None]:
    """Those of the images that are to be removed, with their names; the others are held by other files."""
    values = {"images": [each for each in images if each]}
    session.execute(READ_AGAIN, values)
    return {row[0]: row[1] for row in session.execute(UNHELD, values)}


# Take the external ids from images, which get them with the next statement.
GIVE_UP = text("UPDATE image SET external_id = NULL WHERE id = ANY (:images)")
INHERIT = text("""
    UPDATE image SET label = coalesce(given.label, image.label),
           metadata = CASE WHEN image.metadata = '{}' THEN given.metadata ELSE image.metadata END,
           external_id = coalesce(image.external_id, given.external_id)
    FROM unnest(CAST(:images AS uuid[]), CAST(:labels AS text[]), CAST(:metadata AS jsonb[]), CAST(:ids AS text[]))
         given(id, label, metadata, external_id) WHERE image.id = given.id
""")


def _inherit(session: Session, run: SyncRun, successors: Mapping[UUID, UUID]) -> None:
    """Give label, metadata and external id of images that go to those that the run has brought in their place."""
    new = set(session.scalars(BROUGHT, {"images": list(successors.values()), "run": run.job_id}))
    pairs = {former: image for former, image in successors.items() if image in new}
    if not pairs:
        return
    columns = select(Image.id, Image.collection_id, Image.external_id).where(Image.id.in_(pairs))
    identified = [(row.collection_id, row.external_id) for row in session.execute(columns) if row.external_id]
    external_ids.lock_external_ids(session, identified)
    locked = select(Image.id, Image.label, Image.meta, Image.external_id).where(Image.id.in_(pairs))
    rows = session.execute(locked.order_by(Image.id).with_for_update()).all()
    session.execute(GIVE_UP, {"images": [row.id for row in rows if row.external_id]})
    values = {
        "images": [pairs[row.id] for row in rows],
        "labels": [row.label for row in rows],
        "metadata": [Jsonb(row.meta) for row in rows],
        "ids": [row.external_id for row in rows],
    }
    session.execute(INHERIT, values)

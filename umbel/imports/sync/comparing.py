"""What a run of a sync lists, compared with what the sync knows: only what is new or changed is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session
from umbel_files.names import printable

from umbel.base.errors import TooManyVanished, UmbelError
from umbel.base.roots import unquoted
from umbel.base.tables import ImportSource, Sync, SyncRun
from umbel.imports.sources import Entry

REJECTED = "rejected: "  # how the version of a file begins that listing has rejected
SAMPLES = 100  # files that the report of a dry run names, of each kind


@dataclass(frozen=True, slots=True)
class Known:
    """A file of the sync: its version when it was read, and the last run that found it."""

    version: str | None
    seen: UUID | None


# Find the files at these paths.
FIND = text("""
    SELECT f.locator, f.version, f.seen FROM unnest(CAST(:locators AS text[])) given(locator)
    JOIN sync_file f ON f.sync_id = :sync AND sha256(f.locator::bytea) = sha256(given.locator::bytea)
""")
# Note that a run found them; one that finds a file twice keeps what it saw first.
MARK = text("""
    INSERT INTO sync_file (sync_id, locator, seen, found)
    SELECT :sync, locator, :run, version
    FROM unnest(CAST(:locators AS text[]), CAST(:versions AS text[])) given(locator, version)
    ON CONFLICT (sync_id, sha256(locator::bytea)) DO UPDATE SET seen = excluded.seen, found = excluded.found
    WHERE sync_file.seen IS DISTINCT FROM excluded.seen
""")
# Of what lies below a folder that was rejected nothing is known: it counts as seen, and unchanged.
MARK_BELOW = text(f"""
    UPDATE sync_file f SET seen = :run, found = version
    WHERE sync_id = :sync AND seen IS DISTINCT FROM :run AND EXISTS (
        SELECT FROM generate_series(1, cardinality(string_to_array(f.locator, '/')) - 1) depth
        JOIN sync_file above ON above.sync_id = :sync AND sha256(above.locator::bytea)
             = sha256(array_to_string((string_to_array(f.locator, '/'))[1 : depth], '/')::bytea)
        WHERE above.seen = :run AND starts_with(above.found, '{REJECTED}'))
""")
# Count what a run found, and what it did not find of what was known.
COUNT = text("""
    SELECT count(*) FILTER (WHERE seen = :run AND version IS NULL AND image_id IS NULL) AS new,
           count(*) FILTER (WHERE seen = :run AND (version IS NOT NULL OR image_id IS NOT NULL)
                            AND (found IS NULL OR found IS DISTINCT FROM version)) AS changed,
           count(*) FILTER (WHERE seen = :run AND found = version) AS unchanged,
           count(*) FILTER (WHERE seen IS DISTINCT FROM :run AND image_id IS NOT NULL) AS vanished,
           count(*) FILTER (WHERE image_id IS NOT NULL) AS known
    FROM sync_file WHERE sync_id = :sync
""")
SAMPLE = text("""
    SELECT locator FROM sync_file WHERE sync_id = :sync AND CASE CAST(:kind AS text)
        WHEN 'new' THEN seen = :run AND version IS NULL AND image_id IS NULL
        WHEN 'changed' THEN seen = :run AND (version IS NOT NULL OR image_id IS NOT NULL)
                            AND (found IS NULL OR found IS DISTINCT FROM version)
        ELSE seen IS DISTINCT FROM :run AND image_id IS NOT NULL END
    ORDER BY locator LIMIT :limit
""")
# Count the files that look as if they had been renamed: the version is that of one which is gone.
RENAMED = text("""
    SELECT least(count(DISTINCT gone.locator), count(DISTINCT new.locator)) FROM sync_file gone JOIN sync_file new
    ON new.sync_id = gone.sync_id AND new.seen = :run AND new.found = gone.version AND new.version IS NULL
       AND new.image_id IS NULL
    WHERE gone.sync_id = :sync AND gone.seen IS DISTINCT FROM :run AND gone.image_id IS NOT NULL
""")
# Forget the files that a dry run alone has seen.
FORGET = text("DELETE FROM sync_file WHERE sync_id = :sync AND seen = :run AND version IS NULL AND image_id IS NULL")


def find_run(session: Session, job_id: UUID) -> SyncRun | None:
    """The run that a job is; None for an import."""
    return session.scalar(select(SyncRun).where(SyncRun.job_id == job_id))


def version_of(entry: Entry) -> str | None:
    """What tells whether the file is another one than when it was last read; None: read it in any case."""
    if entry.rejected:
        return f"{REJECTED}{entry.rejected.code}"
    return entry.location.version if entry.location else None


def to_read(found: Sequence[Entry], known: Mapping[str, Known], run: UUID) -> list[Entry]:
    """Those that are new or changed, and that this run has not found before. known: by locator."""
    chosen = []
    for entry in found:
        before, version = known.get(entry.locator), version_of(entry)
        if before is None or (before.seen != run and (version is None or version != before.version)):
            chosen.append(entry)
    return chosen


def note_found(session: Session, run: SyncRun, found: Sequence[Entry]) -> list[Entry]:
    """Note what a run has found next; those of it that are to be read."""
    values: dict[str, Any] = {"sync": run.sync_id, "run": run.job_id, "locators": [each.locator for each in found]}
    known = {row.locator: Known(row.version, row.seen) for row in session.execute(FIND, values)}
    session.execute(MARK, values | {"versions": [version_of(each) for each in found]})
    return to_read(found, known, run.job_id)


def begins_again(session: Session, source: ImportSource, run: SyncRun) -> bool:
    """Whether a source that was listed to its end is listed once more, as files are missing.

    A file that is moved while its source is listed may be at neither place when its turn comes; the second time it is.
    """
    if run.again:
        return False
    session.execute(MARK_BELOW, {"sync": run.sync_id, "run": run.job_id})
    if not _count(session, run)["vanished"]:
        return False
    run.again = True
    source.position, source.listed, source.rejected, source.skipped, source.skipped_by_kind = None, 0, 0, 0, {}
    session.flush()
    return True


def end_listing(session: Session, source: ImportSource, run: SyncRun, error: UmbelError | None) -> UmbelError | None:
    """The source is listed no further; error: why not to its end. Returns what the job is to say.

    What is missing is removed later only if the listing was complete.
    """
    session.execute(MARK_BELOW, {"sync": run.sync_id, "run": run.job_id})
    counts = _count(session, run)
    run.complete = error is None
    run.report = {"unchanged": counts["unchanged"], "known": counts["known"]}  # the rest is counted when it is done
    if source.dry_run:
        run.done = True
        run.report = _planned(session, run, counts)
        error = error or too_many(session, run, run.report["vanished"])
    session.flush()
    return error


def too_many(session: Session, run: SyncRun, vanished: int) -> TooManyVanished | None:
    """Why a run may not remove the images of so many files."""
    sync, known = session.get_one(Sync, run.sync_id), run.report.get("known", 0)
    if run.allow_vanished or vanished <= sync.max_vanished * known:
        return None
    return TooManyVanished(
        f"{vanished:,} of {known:,} files are no longer there, more than {sync.max_vanished:.0%}: none of their images"
        f" was removed. If they are gone for good: umbel sync run {sync.id} --allow-vanished"
    )


def _planned(session: Session, run: SyncRun, counts: Mapping[str, int]) -> dict[str, Any]:
    """The report of a dry run, which leaves nothing else behind."""
    values = {"sync": run.sync_id, "run": run.job_id, "limit": SAMPLES}
    files = {
        f"{kind}_files": [printable(unquoted(locator)) for locator in session.scalars(SAMPLE, values | {"kind": kind})]
        for kind in ("new", "changed", "vanished")
    }
    renamed = session.scalar(RENAMED, values) or 0
    session.execute(FORGET, values)
    others = {kind: counts[kind] - renamed for kind in ("new", "vanished")}
    return {**counts, **others, "renamed": renamed, **files}


def _count(session: Session, run: SyncRun) -> dict[str, int]:
    return dict(session.execute(COUNT, {"sync": run.sync_id, "run": run.job_id}).one()._mapping)

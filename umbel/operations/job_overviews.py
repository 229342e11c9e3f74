"""What is told of jobs of any type: the job itself, what it imports from, its reindex, and the index it waits for."""

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.orm import Session

from umbel.base.database import Transaction
from umbel.base.errors import NotFound
from umbel.base.tables import ImportSource, Job, JobItem, Reindex
from umbel.base.types import JobType, ReindexPhase
from umbel.imports import source_rows
from umbel.jobs import items, jobs
from umbel.models import partitions, reindexes
from umbel.models.partitions import IndexProgress

PHASES = {JobType.COMPARISON: "comparing", JobType.DELETION: "deleting", JobType.MAP: "drawing"}
PHASES |= {JobType.CHANGE: "changing", JobType.REMOVAL: "removing", JobType.PURGE: "purging"}
PHASES |= {JobType.RESTORATION: "restoring"}
GIVEN = (JobType.UPLOAD, JobType.IMPORT, JobType.SYNC)  # whose items are pictures that someone gave

COLUMNS = ("name", "status", "code", "reason", "attempts", "image_id", "finished_at", "note")
PAGE = 1_000
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would compute


@dataclass(frozen=True, slots=True)
class JobOverview:
    """A job. source: what workers list for it; index: while one is built that it waits for.

    collection: its name; None: about all, or deleted since. first_name: of the first picture that it was given.
    """

    job: Job
    collection: str | None
    first_name: str | None
    source: ImportSource | None
    reindex: Reindex | None
    index: IndexProgress | None

    @property
    def id(self) -> UUID:
        return self.job.id

    @property
    def phase(self) -> str | None:
        """What an unfinished job is at."""
        if self.job.finished_at is not None:
            return None
        if self.settles_openly:
            return "cancelling" if self.job.cancelling else "retrying"
        if self.job.paused:
            return "paused"
        if self.source is not None and not self.source.done:
            return "listing"
        if self.reindex is not None and self.reindex.phase != ReindexPhase.DONE:
            return str(self.reindex.phase)
        usual = "indexing" if self.job.indexing and not self.job.pending else "embedding"
        return PHASES.get(JobType(self.job.type), usual)

    @property
    def settles_openly(self) -> bool:
        """Whether items have yet to be cancelled or brought back, as was asked; its counts tell how many."""
        return self.job.settling and (self.job.cancelling or self.job.retrying)

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until its images are embedded at the pace so far; None while there is no pace."""
        job, done = self.job, self.job.total - self.job.pending
        if job.finished_at is not None or job.paused or job.started_at is None or not job.pending or not done:
            return None
        return round((datetime.now(UTC) - job.started_at).total_seconds() * job.pending / done, 1)


def get_overview(session: Session, job_id: UUID) -> JobOverview:
    """Raises NotFound."""
    return _overviews(session, [jobs.get_job(session, job_id)])[0]


def list_overviews(
    session: Session,
    *,
    status: str | None,
    job_type: str | None,
    before: UUID | None,
    limit: int,
    within: Collection[str] | None,
) -> list[JobOverview]:
    """Up to `limit` jobs, newest first. within: names of collections; None: all jobs."""
    found = jobs.list_jobs(session, status=status, job_type=job_type, before=before, limit=limit, within=within)
    return _overviews(session, found)


def check_job_in(
    session: Session, job_id: UUID, names: Collection[str] | None, *, begun_by: UUID | None = None
) -> None:
    """Raises NotFound for a job that is about no collection of these names, or that another key began.

    names: None: any, or all of them. begun_by: None: any.
    """
    elsewhere = names is not None and jobs.find_collection_name(session, job_id) not in names
    if elsewhere or (begun_by is not None and jobs.get_job(session, job_id).api_key_id != begun_by):
        raise NotFound(f"There is no job {job_id}.")


def list_items(session: Session, job_id: UUID, *, state: str | None, after: UUID | None, limit: int) -> list[JobItem]:
    """Up to `limit` items of a job in the order they came, after the item `after`. Raises NotFound."""
    jobs.get_job(session, job_id)
    return items.list_items(session, job_id, state=state, after=after, limit=limit)


def items_as_csv(transaction: Transaction, job_id: UUID, state: str | None) -> Iterator[str]:
    """Lines of CSV with a header, a page of the ledger at a time; state: only the items in it. Raises NotFound."""
    with transaction() as session:
        jobs.get_job(session, job_id)
    return _csv_pages(transaction, job_id, state)


def _csv_pages(transaction: Transaction, job_id: UUID, state: str | None) -> Iterator[str]:
    yield _csv_lines([COLUMNS])
    after: UUID | None = None
    while True:
        with transaction() as session:
            page = items.list_items(session, job_id, state=state, after=after, limit=PAGE)
        if not page:
            return
        after = page[-1].id
        yield _csv_lines([_csv_row(item) for item in page])


def _csv_row(item: JobItem) -> tuple[object, ...]:
    name = item.name or ""
    # Source: OWASP, "CSV Injection": names are whatever a stranger's file was called.
    safe = f"'{name}" if name.startswith(FORMULA) else name
    finished = item.finished_at and item.finished_at.isoformat()
    return (safe, item.state, item.error_code, item.error_detail, item.attempts, item.image_id, finished, item.note)


def _csv_lines(rows: list[tuple[object, ...]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def _overviews(session: Session, rows: Sequence[Job]) -> list[JobOverview]:
    ids = [job.id for job in rows]
    sources, known = source_rows.list_sources(session, ids), reindexes.list_reindexes(session, ids)
    building = {job.id for job in rows if job.indexing or _builds(known.get(job.id))}
    versions = {job.model_version_id for job in rows if job.id in building}
    progress = {version: partitions.find_index_progress(session, version) for version in versions if version}
    collections = jobs.list_collection_names(session, ids)
    names = items.list_first_names(session, [job.id for job in rows if job.type in GIVEN])
    return [
        JobOverview(
            job,
            collections.get(job.id),
            names.get(job.id),
            sources.get(job.id),
            known.get(job.id),
            progress.get(job.model_version_id) if job.model_version_id and job.id in building else None,
        )
        for job in rows
    ]


def _builds(reindex: Reindex | None) -> bool:
    return reindex is not None and not reindex.done and reindex.phase == ReindexPhase.INDEXING

"""/v1/jobs: follow, list and control jobs. Status is read from the ledger, never from a queue."""

from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, Field

from api import rooms
from api.access import reach
from api.errors import also, answers, problems
from api.fields import Links, NextCursor, PageQuery, Strict, answer_of, link_to, page_of
from umbel.base.database import transaction
from umbel.base.errors import Busy
from umbel.base.notify import listener
from umbel.base.tables import ImportSource
from umbel.base.types import ItemState, JobStatus, JobType, ReindexMode, ReindexPhase
from umbel.jobs.wakeup import waker
from umbel.operations import job_actions, job_overviews
from umbel.operations.job_overviews import JobOverview, items_as_csv

bp = APIBlueprint("jobs", __name__, tag="Jobs")

MOST_ITEMS = 1_000
LATER = "Begun: `phase` is `cancelling` or `retrying` until all items have followed, and `counts` tell how many have."

Phase = Literal[
    "cancelling",
    "retrying",
    "paused",
    "listing",
    "embedding",
    "indexing",
    "comparing",
    "evaluating",
    "switching",
    "deleting",
    "changing",
    "removing",
    "restoring",
    "purging",
    "drawing",
]


class JobQuery(Strict):
    wait: float = Field(0, ge=0, le=30, allow_inf_nan=False, description="Seconds to wait for the job to finish.")


class JobsQuery(PageQuery):
    status: JobStatus | None = None
    type: JobType | None = None


class ItemsQuery(PageQuery):
    status: ItemState | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_ITEMS)] = 100


class ItemsFileQuery(Strict):
    status: ItemState | None = None


class CountsOut(BaseModel):
    total: int = Field(description="pending + indexed + duplicate + failed + cancelled, always.", examples=[240])
    pending: int = Field(examples=[0])
    indexed: int = Field(description="Found by searches.", examples=[238])
    duplicate: int = Field(description="Their bytes were in the collection.", examples=[1])
    failed: int = Field(examples=[1])
    cancelled: int = Field(examples=[0])


class SourceOut(BaseModel):
    type: str
    location: str | None = Field(
        description="The folder or bucket that it is read from; of a list, what its paths are relative to.",
        examples=["/srv/pictures"],
    )
    listed: int = Field(description="Entries found so far.")
    rejected: int = Field(description="Of these, the ones that may not or cannot be read: failed items.")
    skipped: int = Field(description="Other files, which are no pictures; a hidden folder counts as one.")
    skipped_by_kind: dict[str, int] = Field(description="Of these, how many of each suffix.", examples=[{".json": 3}])
    done: bool = Field(description="Listed to the end.")
    dry_run: bool
    error: str | None = Field(description="Why it cannot be reached now, or was given up.", examples=[None])
    tries: int = Field(description="Times in a row that it could not be reached.", examples=[0])
    next_try: datetime | None = Field(description="When it is tried again, where it cannot be reached.")


class IndexOut(BaseModel):
    phase: str = Field(description="As Postgres calls it.")
    done: int
    total: int = Field(description="Of tuples or blocks, as the phase counts; 0 if unknown.")


class ReindexOut(BaseModel):
    mode: ReindexMode
    phase: ReindexPhase = Field(description="The present step; done: it has ended, with any outcome.")
    activate: bool
    max_drop: float
    eta_seconds: float | None = Field(
        description="Until all pictures are embedded, by the pace so far; for the index see the job's `index`."
    )
    report: dict[str, Any] | None = Field(
        description="The outcome: the metrics of both versions with the interval of their difference, the recall"
        " of the new index, the overlap of the ten nearest, the gate and its reasons, whether it was switched. For an"
        " index its recall, milliseconds and bytes before and after, and whether the new one was kept."
    )


class JobOut(BaseModel):
    id: UUID
    type: JobType = Field(examples=["import"])
    status: JobStatus = Field(examples=["partial"])
    collection: str | None = Field(examples=["garden"], description="That it is about; null: all.")
    first_name: str | None = Field(examples=["tulips/1.jpg"], description="Of the first picture that it was given.")
    phase: Phase | None = Field(
        examples=[None],
        description="What an unfinished job is at; indexing: all is embedded and found, its index is built.",
    )
    paused: bool = Field(examples=[False])
    counts: CountsOut
    source: SourceOut | None = Field(examples=[None], description="What a worker imports from.")
    index: IndexOut | None = Field(examples=[None], description="How far the index is, while one is built.")
    reindex: ReindexOut | None = Field(examples=[None], description="The task of a reindex, and its outcome.")
    model_version: UUID | None
    error_code: str | None = Field(description="Why, if it failed, for programs.", examples=[None])
    error: str | None = Field(description="The same for people.", examples=[None])
    attempts: int = Field(examples=[1])
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: Links


class JobsOut(BaseModel):
    items: list[JobOut]
    next_cursor: NextCursor


class ItemOut(BaseModel):
    id: UUID
    image_id: UUID | None
    name: str | None = Field(examples=["tulips/1.jpg"])
    status: ItemState
    attempts: int = Field(examples=[1])
    error_code: str | None = Field(description="Stable; for programs.", examples=[None])
    error: str | None = Field(description="Why, if it failed.", examples=[None])
    note: str | None = Field(description="What is to be said of a damaged picture that was taken.", examples=[None])
    finished_at: datetime | None


class ItemsOut(BaseModel):
    items: list[ItemOut]
    next_cursor: NextCursor


@bp.get("/v1/jobs/<uuid:job_id>")
@bp.input(JobQuery, location="query", arg_name="query")
@bp.output(JobOut)
def get_job(job_id: UUID, query: JobQuery) -> Any:
    """Describe a job; with `wait`, once it has finished or the seconds are over.

    The answer may come sooner, with the job unfinished, when many requests are waiting: ask again.
    """
    if query.wait:
        with suppress(Busy), rooms.followers().place():
            job_actions.wait_for_job(transaction, listener(), job_id, query.wait)
    return _described(job_id)


@bp.get("/v1/jobs")
@bp.input(JobsQuery, location="query", arg_name="query")
@bp.output(JobsOut)
def list_jobs(query: JobsQuery) -> Any:
    """List jobs, newest first."""
    with transaction() as session:
        found = job_overviews.list_overviews(
            session,
            status=query.status,
            job_type=query.type,
            before=query.cursor,
            limit=query.limit + 1,
            within=reach(),
        )
    page, cursor = page_of(found, query.limit)
    return JobsOut(items=[job_out(overview) for overview in page], next_cursor=cursor)


@bp.get("/v1/jobs/<uuid:job_id>/items")
@bp.input(ItemsQuery, location="query", arg_name="query")
@bp.output(ItemsOut)
def list_items(job_id: UUID, query: ItemsQuery) -> Any:
    """List a job's images with the outcome of each, in the order they came."""
    with transaction() as session:
        rows = job_overviews.list_items(session, job_id, state=query.status, after=query.cursor, limit=query.limit + 1)
    page, cursor = page_of(rows, query.limit)
    return ItemsOut(
        items=[answer_of(ItemOut, row, status=row.state, error=row.error_detail) for row in page], next_cursor=cursor
    )


@bp.get("/v1/jobs/<uuid:job_id>/items.csv")
@bp.input(ItemsFileQuery, location="query", arg_name="query")
@bp.doc(responses=answers("One line a picture", "text/csv"))
def download_items(job_id: UUID, query: ItemsFileQuery) -> Response:
    """Download a job's images with the outcome of each, as CSV: all of them, or those of one status."""
    name = f"{job_id}-{query.status or 'items'}.csv"
    lines = items_as_csv(transaction, job_id, query.status)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(lines, content_type="text/csv; charset=utf-8", headers=headers)


@bp.post("/v1/jobs/<uuid:job_id>/close")
@bp.output(JobOut)
@bp.doc(responses=problems(409))
def close_job(job_id: UUID) -> Any:
    """Declare that an import has all its images. Twice is harmless."""
    job_actions.close_job(transaction, job_id)
    return _described(job_id)


@bp.post("/v1/jobs/<uuid:job_id>/cancel")
@bp.output(JobOut)
@bp.doc(responses=also(202, LATER, "JobOut") | problems(409))
def cancel_job(job_id: UUID) -> Any:
    """End a job where it stands: what is indexed stays so, the rest is cancelled. Twice is harmless.

    Nothing of it is begun any more. A large job is answered with 202 while the rest of its items are cancelled.
    """
    job_actions.cancel_job(transaction, job_id)
    return _changed(job_id)


@bp.post("/v1/jobs/<uuid:job_id>/retry")
@bp.output(JobOut)
@bp.doc(responses=also(202, LATER, "JobOut") | problems(409))
def retry_job(job_id: UUID) -> Any:
    """Try the failed images of a job once more, and no others. Twice is harmless.

    A large job is answered with 202 while the rest of its failed items are brought back; work begins after that.
    """
    job_actions.retry_job(transaction, waker(), job_id)
    return _changed(job_id)


@bp.post("/v1/jobs/<uuid:job_id>/pause")
@bp.output(JobOut)
@bp.doc(responses=problems(409))
def pause_job(job_id: UUID) -> Any:
    """Stop working on a job until it is resumed; the present batch is finished. Twice is harmless."""
    job_actions.pause_job(transaction, job_id)
    return _described(job_id)


@bp.post("/v1/jobs/<uuid:job_id>/resume")
@bp.output(JobOut)
@bp.doc(responses=problems(409))
def resume_job(job_id: UUID) -> Any:
    """Continue a paused job. Twice is harmless."""
    job_actions.resume_job(transaction, waker(), job_id)
    return _described(job_id)


def _changed(job_id: UUID) -> Any:
    with transaction() as session:
        overview = job_overviews.get_overview(session, job_id)
        return job_out(overview), 202 if overview.settles_openly else 200


def _described(job_id: UUID) -> JobOut:
    with transaction() as session:
        return job_out(job_overviews.get_overview(session, job_id))


def _source_out(source: ImportSource) -> SourceOut:
    waits = source.error is not None and not source.given_up
    kind, next_try = source.spec["type"], source.next_try if waits else None
    location = next((source.spec[part] for part in ("path", "url", "base") if source.spec.get(part)), None)
    return answer_of(SourceOut, source, type=kind, location=location, tries=source.retries, next_try=next_try)


def job_out(overview: JobOverview) -> JobOut:
    job, source, reindex = overview.job, overview.source, overview.reindex
    link = link_to(f"/v1/jobs/{job.id}")
    return answer_of(
        JobOut,
        job,
        collection=overview.collection,
        first_name=overview.first_name,
        phase=overview.phase,
        source=source and _source_out(source),
        index=overview.index and answer_of(IndexOut, overview.index),
        reindex=reindex and answer_of(ReindexOut, reindex, eta_seconds=overview.eta_seconds),
        counts=answer_of(CountsOut, job),
        model_version=job.model_version_id,
        links={"self": link} | {part: f"{link}/{part}" for part in ("items", "items.csv", "cancel", "retry")},
    )

"""/v1/jobs: followed, listed, closed. Status is read from the ledger, never from a queue."""

from threading import BoundedSemaphore
from typing import Any
from uuid import UUID

from apiflask import APIBlueprint
from flask import Response

from api.access import reach
from api.errors import answers, problems
from api.schemas.fields import answer_of, page_of
from api.schemas.jobs import (
    CountsOut,
    IndexOut,
    ItemOut,
    ItemsFileQuery,
    ItemsOut,
    ItemsQuery,
    JobOut,
    JobQuery,
    JobsOut,
    JobsQuery,
    SourceOut,
)
from api.schemas.reindex import ReindexOut
from umbel.base.database import transaction
from umbel.base.notify import listener
from umbel.base.settings import settings
from umbel.jobs.wakeup import waker
from umbel.operations import job_actions, job_overviews
from umbel.operations.job_overviews import JobOverview, items_as_csv

bp = APIBlueprint("jobs", __name__, tag="Jobs")

# A waiting request holds a thread. At most half the threads wait; further requests are answered at once.
_waiting = BoundedSemaphore(max(1, settings().api_threads // 2))


@bp.get("/v1/jobs/<uuid:job_id>")
@bp.input(JobQuery, location="query", arg_name="query")
@bp.output(JobOut)
@bp.doc(responses=problems(404, 422))
def get_job(job_id: UUID, query: JobQuery) -> Any:
    """Describe a job; with `wait`, once it has finished or the seconds are over.

    The answer may come sooner than that, unfinished, when very many are waiting: ask again.
    """
    if query.wait and _waiting.acquire(blocking=False):
        try:
            job_actions.wait_for_job(transaction, listener(), job_id, query.wait)
        finally:
            _waiting.release()
    return _described(job_id)


@bp.get("/v1/jobs")
@bp.input(JobsQuery, location="query", arg_name="query")
@bp.output(JobsOut)
@bp.doc(responses=problems(422))
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
    return JobsOut(items=[_out(overview) for overview in page], next_cursor=cursor)


@bp.get("/v1/jobs/<uuid:job_id>/items")
@bp.input(ItemsQuery, location="query", arg_name="query")
@bp.output(ItemsOut)
@bp.doc(responses=problems(404, 422))
def list_items(job_id: UUID, query: ItemsQuery) -> Any:
    """List a job's pictures with what became of each, in the order they came."""
    with transaction() as session:
        rows = job_overviews.list_items(session, job_id, state=query.status, after=query.cursor, limit=query.limit + 1)
    page, cursor = page_of(rows, query.limit)
    return ItemsOut(
        items=[answer_of(ItemOut, row, status=row.state, error=row.error_detail) for row in page], next_cursor=cursor
    )


@bp.get("/v1/jobs/<uuid:job_id>/items.csv")
@bp.input(ItemsFileQuery, location="query", arg_name="query")
@bp.doc(responses=answers("One line a picture", "text/csv", 404, 422))
def download_items(job_id: UUID, query: ItemsFileQuery) -> Response:
    """Download a job's pictures with what became of each, as CSV: all of them, or those of one status."""
    name = f"{job_id}-{query.status or 'items'}.csv"
    lines = items_as_csv(transaction, job_id, query.status)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(lines, content_type="text/csv; charset=utf-8", headers=headers)


@bp.post("/v1/jobs/<uuid:job_id>/close")
@bp.output(JobOut)
@bp.doc(responses=problems(404, 409))
def close_job(job_id: UUID) -> Any:
    """Say that an import has all its pictures. Saying it twice is harmless."""
    job_actions.close_job(transaction, job_id)
    return _described(job_id)


@bp.post("/v1/jobs/<uuid:job_id>/cancel")
@bp.output(JobOut)
@bp.doc(responses=problems(404, 409, 503))
def cancel_job(job_id: UUID) -> Any:
    """End a job where it stands: what is indexed stays so, the rest is cancelled. Twice is harmless."""
    job_actions.cancel_job(transaction, job_id)
    return _described(job_id)


@bp.post("/v1/jobs/<uuid:job_id>/retry")
@bp.output(JobOut)
@bp.doc(responses=problems(404, 409, 503))
def retry_job(job_id: UUID) -> Any:
    """Try the failed pictures of a job once more, and no others. Twice is harmless."""
    job_actions.retry_job(transaction, waker(), job_id)
    return _described(job_id)


@bp.post("/v1/jobs/<uuid:job_id>/pause")
@bp.output(JobOut)
@bp.doc(responses=problems(404, 409, 503))
def pause_job(job_id: UUID) -> Any:
    """Let a job wait until it is resumed; the batch in hand is finished. Twice is harmless."""
    job_actions.pause_job(transaction, job_id)
    return _described(job_id)


@bp.post("/v1/jobs/<uuid:job_id>/resume")
@bp.output(JobOut)
@bp.doc(responses=problems(404, 409, 503))
def resume_job(job_id: UUID) -> Any:
    """Go on with a paused job. Twice is harmless."""
    job_actions.resume_job(transaction, waker(), job_id)
    return _described(job_id)


def _described(job_id: UUID) -> JobOut:
    with transaction() as session:
        return _out(job_overviews.get_overview(session, job_id))


def _out(overview: JobOverview) -> JobOut:
    job, source, reindex = overview.job, overview.source, overview.reindex
    link = f"/v1/jobs/{job.id}"
    return answer_of(
        JobOut,
        job,
        phase=overview.phase,
        source=source and answer_of(SourceOut, source, type=source.spec["type"]),
        index=overview.index and answer_of(IndexOut, overview.index),
        reindex=reindex and answer_of(ReindexOut, reindex, eta_seconds=overview.eta_seconds),
        counts=answer_of(CountsOut, job),
        model_version=job.model_version_id,
        links={"self": link} | {part: f"{link}/{part}" for part in ("items", "items.csv", "cancel", "retry")},
    )

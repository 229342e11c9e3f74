"""/v1/jobs: followed, listed, sealed. Status is read from the ledger, never from a queue."""

from threading import BoundedSemaphore
from typing import Any
from uuid import UUID

from apiflask import APIBlueprint

from api.errors import problems
from api.schemas import CountsOut, ItemOut, ItemsOut, ItemsQuery, JobOut, JobQuery, JobsOut, JobsQuery, page_of
from core.settings import settings
from db import items, jobs
from db.models import Job
from db.notify import listener
from db.session import transaction
from services.jobs import wait_for_job

bp = APIBlueprint("jobs", __name__, tag="Jobs")


# Whoever waits holds a thread. Half of them stay free for those who do not; beyond that an answer comes at once.
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
            return job_out(wait_for_job(transaction, listener(), job_id, query.wait))
        finally:
            _waiting.release()
    with transaction() as session:
        return job_out(jobs.get_job(session, job_id))


@bp.get("/v1/jobs")
@bp.input(JobsQuery, location="query", arg_name="query")
@bp.output(JobsOut)
@bp.doc(responses=problems(422))
def list_jobs(query: JobsQuery) -> Any:
    """List jobs, newest first."""
    with transaction() as session:
        rows = jobs.list_jobs(
            session, status=query.status, job_type=query.type, before=query.cursor, limit=query.limit + 1
        )
    page, cursor = page_of(rows, query.limit)
    return JobsOut(items=[job_out(row) for row in page], next_cursor=cursor)


@bp.get("/v1/jobs/<uuid:job_id>/items")
@bp.input(ItemsQuery, location="query", arg_name="query")
@bp.output(ItemsOut)
@bp.doc(responses=problems(404, 422))
def list_items(job_id: UUID, query: ItemsQuery) -> Any:
    """List a job's pictures with what became of each, in the order they came."""
    with transaction() as session:
        jobs.get_job(session, job_id)
        rows = items.list_items(session, job_id, state=query.status, after=query.cursor, limit=query.limit + 1)
    page, cursor = page_of(rows, query.limit)
    return ItemsOut(
        items=[
            ItemOut(
                id=row.id,
                image_id=row.image_id,
                name=row.name,
                status=row.state,
                attempts=row.attempts,
                error_code=row.error_code,
                error=row.error_detail,
                finished_at=row.finished_at,
            )
            for row in page
        ],
        next_cursor=cursor,
    )


@bp.post("/v1/jobs/<uuid:job_id>/seal")
@bp.output(JobOut)
@bp.doc(responses=problems(404))
def seal_job(job_id: UUID) -> Any:
    """Say that an import has all its pictures. Saying it twice is harmless."""
    with transaction() as session:
        jobs.seal_job(session, job_id)
        return job_out(jobs.get_job(session, job_id))


def job_out(job: Job) -> JobOut:
    link = f"/v1/jobs/{job.id}"
    return JobOut(
        id=job.id,
        type=job.type,
        status=job.status,
        counts=CountsOut.model_validate(job, from_attributes=True),
        model_version=job.model_version_id,
        error=job.error,
        attempts=job.attempts,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        links={"self": link, "items": f"{link}/items"},
    )

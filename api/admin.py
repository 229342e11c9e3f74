"""/v1/admin: what the operator of a service wants to know, and to have done."""

from typing import Any

from apiflask import APIBlueprint
from flask import url_for

from api.errors import problems
from api.schemas.admin import AuditEventOut, AuditOut, AuditQuery, RecallIn, RecallOut, RecallsOut, RecallsQuery
from api.schemas.fields import answer_of, page_of
from api.schemas.reindex import ReindexAccepted, ReindexIn
from umbel.access import audit
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.tables import RecallReport
from umbel.base.types import JobStatus, ReindexMode
from umbel.jobs.wakeup import waker
from umbel.models import versions
from umbel.models.partitions import Hnsw
from umbel.models.reindexes import begin_reindex
from umbel.search.recall import list_reports, measure_recall

bp = APIBlueprint("admin", __name__, tag="Admin")

LONGEST_SECONDS = 20  # within what proxies wait for an answer


@bp.post("/v1/admin/recall")
@bp.input(RecallIn, arg_name="asked")
@bp.output(RecallOut)
@bp.doc(responses=problems(400, 409, 422, 503))
def measure(asked: RecallIn) -> Any:
    """Measure how much of what an exact search finds the index finds, and how fast.

    Searches with stored vectors both ways, for twenty seconds at most, and keeps the result: /metrics shows the newest.
    """
    return _out(measure_recall(transaction, k=asked.k, sample=asked.sample, seconds=LONGEST_SECONDS))


@bp.get("/v1/admin/recall")
@bp.input(RecallsQuery, location="query", arg_name="query")
@bp.output(RecallsOut)
@bp.doc(responses=problems(422, 503))
def list_measured(query: RecallsQuery) -> Any:
    """List what was measured, newest first."""
    with transaction() as session:
        reports = list(list_reports(session, before=query.cursor, limit=query.limit + 1))
    rows, next_cursor = page_of(reports, query.limit)
    return RecallsOut(items=[_out(row) for row in rows], next_cursor=next_cursor)


@bp.post("/v1/admin/reindex")
@bp.input(ReindexIn, arg_name="asked")
@bp.output(ReindexAccepted, status_code=202, description="Begun")
@bp.doc(responses=problems(400, 404, 409, 422, 503))
def reindex(asked: ReindexIn) -> Any:
    """Embed every picture with another model version, or build the active index anew, while all goes on.

    The job tells how far it is, and its `reindex.report` what came of it. One runs at a time: 409 while one does.
    """
    job_id = begin_reindex(
        transaction,
        waker(),
        mode=asked.mode,
        version_id=asked.model_version,
        activate=asked.activate,
        max_drop=settings().gate_drop if asked.max_drop is None else asked.max_drop,
        hnsw=_hnsw(asked) if asked.mode == ReindexMode.INDEX else None,
    )
    link = url_for("jobs.get_job", job_id=job_id)
    body = ReindexAccepted(job_id=job_id, status=JobStatus.QUEUED, links={"self": link, "cancel": f"{link}/cancel"})
    return body, 202, {"Location": link, "Retry-After": "1"}


@bp.get("/v1/admin/audit")
@bp.input(AuditQuery, location="query", arg_name="query")
@bp.output(AuditOut)
@bp.doc(responses=problems(422, 503))
def list_audit(query: AuditQuery) -> Any:
    """List what administrators did, newest first: changes that take the scope admin, and keys made and revoked."""
    with transaction() as session:
        rows = audit.list_events(session, before=query.cursor, limit=query.limit + 1)
    page, next_cursor = page_of(rows, query.limit)
    return AuditOut(items=[answer_of(AuditEventOut, row) for row in page], next_cursor=next_cursor)


def _hnsw(asked: ReindexIn) -> Hnsw:
    with transaction() as session:
        active = versions.get_active_version(session)
    return Hnsw(asked.m or active.hnsw_m, asked.ef_construction or active.hnsw_ef_construction)


def _out(row: RecallReport) -> RecallOut:
    return answer_of(RecallOut, row, model_version=row.model_version_id)

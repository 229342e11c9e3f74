"""/v1/admin: reindexes, measurements of recall and the audit log, for operators."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from apiflask import APIBlueprint
from flask import url_for
from pydantic import BaseModel, Field, model_validator

from api.errors import problems
from api.fields import CollectionName, K, Limit, Links, NextCursor, PageQuery, Strict, answer_of, page_of
from umbel.access import audit
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.tables import RecallReport
from umbel.base.types import IndexKind, JobStatus, ReindexMode
from umbel.jobs.wakeup import waker
from umbel.models import versions
from umbel.models.partitions import Hnsw
from umbel.models.reindexes import begin_reindex
from umbel.search.recall import list_reports, measure_recall

bp = APIBlueprint("admin", __name__, tag="Admin")

LONGEST_SECONDS = 20  # proxies wait longer for an answer


class RecallIn(Strict):
    k: K = 10
    sample: Annotated[int, Field(ge=1, le=1_000, description="Searches to compare, with stored vectors.")] = 100
    collection: CollectionName | None = Field(
        None, description="Search within it, by its own images; left out: the whole gallery."
    )


class AuditQuery(PageQuery):
    limit: Limit = 100


class AuditEventOut(BaseModel):
    id: UUID
    at: datetime
    actor: str = Field(description="Who: the key's name and public part, or a user of the command line.")
    action: str = Field(description="What, as a stable word.", examples=["models.activate_model"])
    target: str = Field(description="Of what.")
    details: dict[str, Any]
    status: int | None = Field(description="Of the answer; null: begun, and never known to have ended.")
    request_id: str | None
    address: str | None = Field(description="Where the request came from.")


class AuditOut(BaseModel):
    items: list[AuditEventOut]
    next_cursor: NextCursor


class RecallStepOut(BaseModel):
    ef_search: int
    recall: float
    ms: float = Field(description="Median of a search through the index.")


class RecallOut(BaseModel):
    id: UUID
    model_version: UUID
    collection: str | None = Field(description="That was searched within; null: the whole gallery.", examples=[None])
    k: int
    sample: int = Field(description="Searches that were compared; fewer than asked for when time was up.")
    ef_search: int = Field(description="In use for this k.")
    recall: float = Field(description="Share of the k nearest that the index finds, 0 to 1.")
    index_ms: float = Field(description="Median of a search through the index.")
    exact_ms: float = Field(description="Median of an exact search.")
    ef_for_95: int | None = Field(description="Least ef_search measured with a recall of 0.95; null: none reached it.")
    ef_for_99: int | None = Field(description="The same for 0.99.")
    steps: list[RecallStepOut]
    created_at: datetime


class RecallsOut(BaseModel):
    items: list[RecallOut]
    next_cursor: NextCursor


INDEX_DROP = 0.05  # of recall@10, that an index of another kind may cost


class ReindexIn(Strict):
    mode: ReindexMode = Field(
        ReindexMode.EMBEDDINGS,
        description="embeddings: embed every picture with a model version, beside the active one, then judge it; index:"
        " build the active version's HNSW index anew, beside the one in use.",
    )
    model_version: UUID | None = Field(
        None,
        description="Which version. Unset: re-embed everything with the active model, as a version of its own beside"
        " it. For `index` always the active one.",
    )
    activate: bool | None = Field(
        None, description="Switch to the version if it passes the gate; unset: only if it is the active model again."
    )
    max_drop: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        None,
        description="By how much R@1 and MAP@R may be below the active version's, unset: UMBEL_GATE_DROP; and recall@10"
        f" of an index of another kind below that of the present one, unset: {INDEX_DROP:g}.",
    )
    m: Annotated[int, Field(ge=2, le=100)] | None = Field(
        None, description="For `index`: neighbors of each vector in the graph; unset: as it is."
    )
    ef_construction: Annotated[int, Field(ge=4, le=1_000)] | None = Field(
        None, description="For `index`: candidates looked at for them, at least 2 m; unset: as it is."
    )
    kind: IndexKind | None = Field(
        None,
        description="For `index`: what it is of. halfvec: the vectors, in half precision; bits: the signs of their"
        " numbers, in a third of the memory, and what it finds is ranked again by the vectors; unset: as it is.",
    )

    @model_validator(mode="after")
    def _fitting(self) -> "ReindexIn":
        if self.mode == ReindexMode.INDEX and self.activate:
            raise ValueError("`activate` goes with the mode `embeddings`")
        if self.mode == ReindexMode.EMBEDDINGS and any(
            each is not None for each in (self.m, self.ef_construction, self.kind)
        ):
            raise ValueError("`m`, `ef_construction` and `kind` go with the mode `index`")
        return self


class ReindexAccepted(BaseModel):
    job_id: UUID
    status: JobStatus
    links: Links


@bp.post("/v1/admin/recall")
@bp.input(RecallIn, arg_name="asked")
@bp.output(RecallOut)
@bp.doc(responses=problems(404, 409))
def measure(asked: RecallIn) -> Any:
    """Measure the recall and the speed of the index against exact searches.

    Searches with stored vectors both ways, for twenty seconds at most, and stores the result: /metrics shows the
    newest of the whole gallery. Within a collection it measures the index also where searches would be exact.
    """
    return _out(
        measure_recall(
            transaction, k=asked.k, sample=asked.sample, seconds=LONGEST_SECONDS, collection=asked.collection
        )
    )


@bp.get("/v1/admin/recall")
@bp.input(PageQuery, location="query", arg_name="query")
@bp.output(RecallsOut)
def list_measured(query: PageQuery) -> Any:
    """List the measurements, newest first."""
    with transaction() as session:
        reports = list(list_reports(session, before=query.cursor, limit=query.limit + 1))
    rows, next_cursor = page_of(reports, query.limit)
    return RecallsOut(items=[_out(row) for row in rows], next_cursor=next_cursor)


@bp.post("/v1/admin/reindex")
@bp.input(ReindexIn, arg_name="asked")
@bp.output(ReindexAccepted, status_code=202, description="Begun")
@bp.doc(responses=problems(404, 409))
def reindex(asked: ReindexIn) -> Any:
    """Re-embed every image, with the same or another model version, or rebuild the active index; the service goes on.

    `{}` embeds with the active model, after a change of runtime, say, and switches if the gate lets it. The job shows
    the progress, and its `reindex.report` the outcome. One runs at a time: 409 while one does.
    """
    job_id = begin_reindex(
        transaction,
        waker(),
        mode=asked.mode,
        version_id=asked.model_version,
        activate=asked.activate,
        max_drop=_max_drop(asked),
        hnsw=_hnsw(asked) if asked.mode == ReindexMode.INDEX else None,
    )
    link = url_for("jobs.get_job", job_id=job_id)
    body = ReindexAccepted(job_id=job_id, status=JobStatus.QUEUED, links={"self": link, "cancel": f"{link}/cancel"})
    return body, 202, {"Location": link, "Retry-After": "1"}


@bp.get("/v1/admin/audit")
@bp.input(AuditQuery, location="query", arg_name="query")
@bp.output(AuditOut)
def list_audit(query: AuditQuery) -> Any:
    """List what was done, newest first: changes that need the scope admin, images deleted, jobs acted on, keys."""
    with transaction() as session:
        rows = audit.list_events(session, before=query.cursor, limit=query.limit + 1)
    page, next_cursor = page_of(rows, query.limit)
    return AuditOut(items=[answer_of(AuditEventOut, row) for row in page], next_cursor=next_cursor)


def _max_drop(asked: ReindexIn) -> float:
    if asked.max_drop is not None:
        return asked.max_drop
    return INDEX_DROP if asked.mode == ReindexMode.INDEX else settings().gate_drop


def _hnsw(asked: ReindexIn) -> Hnsw:
    with transaction() as session:
        active = versions.get_active_version(session)
    built, wanted = Hnsw.of(active), asked.model_dump(include={"m", "ef_construction", "kind"}, exclude_none=True)
    return replace(built, **wanted)


def _out(row: RecallReport) -> RecallOut:
    return answer_of(RecallOut, row, model_version=row.model_version_id)

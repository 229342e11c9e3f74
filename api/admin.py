"""/v1/admin: what the operator of a service wants to know."""

from typing import Any

from apiflask import APIBlueprint

from api.errors import problems
from api.schemas.admin import RecallIn, RecallOut, RecallsOut, RecallsQuery
from api.schemas.fields import page_of
from db import recall
from db.models import RecallReport
from db.session import transaction
from services.recall import measure_recall

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
        rows, next_cursor = page_of(
            list(recall.list_reports(session, before=query.cursor, limit=query.limit + 1)), query.limit
        )
    return RecallsOut(items=[_out(row) for row in rows], next_cursor=next_cursor)


def _out(row: RecallReport) -> RecallOut:
    values = {name: getattr(row, name) for name in RecallOut.model_fields if name != "model_version"}
    return RecallOut(model_version=row.model_version_id, **values)

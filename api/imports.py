"""/v1/imports: one job for many pictures."""

from typing import Any

from apiflask import APIBlueprint
from flask import url_for

from api.errors import problems
from api.schemas import ImportIn, ImportOut
from core.types import JobStatus
from db.session import transaction
from services import jobs

bp = APIBlueprint("imports", __name__, tag="Imports")


@bp.post("/v1/imports")
@bp.input(ImportIn, arg_name="body")
@bp.output(ImportOut, status_code=202, description="Open for pictures")
@bp.doc(responses=problems(400, 422))
def open_import(body: ImportIn) -> Any:
    """Open an import.

    Upload its pictures with POST /v1/images and this `job_id`, then POST /v1/jobs/{id}/seal. An import that nobody
    feeds for ten minutes is sealed by itself.
    """
    with transaction() as session:
        job_id = jobs.open_import(session, body.collection)
    return ImportOut(job_id=job_id, status=JobStatus.QUEUED), 202, {"Location": url_for("jobs.get_job", job_id=job_id)}

"""PATCH and DELETE /v1/images: many images at once, by a job."""

from collections.abc import Mapping
from typing import Annotated, Any, Self
from uuid import UUID

from apiflask import APIBlueprint
from flask import url_for
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from structlog.contextvars import bind_contextvars

from api import audit
from api.access import within
from api.errors import problems
from api.fields import SOME_FILTER, CollectionName, Label, Metadata, Strict, json_object
from api.idempotency import conflicts, idempotency_key
from umbel.base.database import transaction
from umbel.base.types import JobStatus, JobType, Queue
from umbel.changes.bulk import begin_bulk
from umbel.changes.bulk_rows import Chosen
from umbel.gallery.filters import Filter
from umbel.jobs.idempotency import keyed_request
from umbel.jobs.wakeup import waker

bp = APIBlueprint("bulk", __name__, tag="Images")

MOST_IDS = 10_000
EXAMPLE: Any = {"filter": SOME_FILTER, "collection": "garden"}
AnyFilter = Annotated[Filter, BeforeValidator(json_object)]


class ChosenIn(Strict):
    """Which images: `ids`, or those that pass a filter."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    collection: CollectionName | None = Field(None, description="Left out: of all collections that the key is for.")
    ids: list[UUID] | None = Field(None, min_length=1, max_length=MOST_IDS)
    filter: AnyFilter | None = Field(None, description="As in the body of a search; `{}` needs a collection.")

    @property
    def chosen(self) -> Chosen:
        return Chosen(self.ids, self.filter)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("exactly one of ids and filter must be given")
        if self.filter is not None and not self.filter and self.collection is None:
            raise ValueError("a filter that says nothing needs a collection")
        return self


class BulkPatchIn(ChosenIn):
    model_config = ConfigDict(json_schema_extra={"examples": [{**EXAMPLE, "label": "wild tulip"}]})

    label: Label | None = None
    metadata: Metadata | None = Field(
        None, description="Merged into that of each image (JSON Merge Patch, RFC 7396): null removes a key, or all."
    )

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set & {"label", "metadata"}:
            raise ValueError("give a label or metadata to change")
        return self


class BulkOut(BaseModel):
    job_id: UUID
    status: JobStatus


BEGUN: Any = {"status_code": 202, "description": "Begun"}
RESPONSES = {**problems(404), **conflicts()}


@bp.patch("/v1/images")
@bp.input(BulkPatchIn, arg_name="body")
@bp.output(BulkOut, **BEGUN)
@bp.doc(responses=RESPONSES)
def change_images(body: BulkPatchIn) -> Any:
    """Change the label or metadata of many images, as PATCH does with one, by a job.

    The job lists the images of `filter` that are there when it begins, and changes them in batches; its counts tell how
    far it is, its items what could not be changed. Cancelled, it leaves changed what it has changed.
    """
    changes = body.model_dump(include={"label", "metadata"}, exclude_unset=True)
    return begun(JobType.CHANGE, body.chosen, collection=within(body.collection), changes=changes)


@bp.delete("/v1/images")
@bp.input(ChosenIn, arg_name="body")
@bp.output(BulkOut, **BEGUN)
@bp.doc(responses=RESPONSES)
def remove_images(body: ChosenIn) -> Any:
    """Remove many images, by a job. They can be restored for UMBEL_TRASH_DAYS: POST /v1/trash:restore."""
    return begun(JobType.REMOVAL, body.chosen, collection=within(body.collection))


def begun(
    job_type: JobType, chosen: Chosen, *, collection: str | None, changes: Mapping[str, Any] | None = None
) -> Any:
    """The answer to a request that begins a job on these images."""
    described = chosen.as_dict()
    key = keyed_request(idempotency_key(), type=job_type, chosen=described, collection=collection, changes=changes)
    with transaction() as session:
        job_id = begin_bulk(session, job_type, chosen, collection=collection, changes=changes, request=key)
    waker().wake(Queue.CHANGE)
    ids = described.pop("ids")
    audit.note(job_id=str(job_id), collection=collection, **described, ids=None if ids is None else len(ids))
    bind_contextvars(job_id=str(job_id))
    body = BulkOut(job_id=job_id, status=JobStatus.QUEUED)
    return body, 202, {"Location": url_for("jobs.get_job", job_id=job_id)}

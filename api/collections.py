"""/v1/collections: create, list, describe, limit and delete collections."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from apiflask import APIBlueprint
from flask import url_for
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.routing import BaseConverter

from api import audit
from api.access import reach, within
from api.calibrations import SummaryOut, summary_out
from api.errors import also
from api.fields import CollectionName, Limit, NextCursor, Strict, answer_of, link_to
from umbel.base.database import transaction
from umbel.base.errors import InvalidInput
from umbel.base.storable import COLLECTION_NAME
from umbel.base.types import JobStatus
from umbel.gallery import collections, quotas
from umbel.gallery.collections import CollectionRow
from umbel.gallery.deletion import begin_deletion
from umbel.jobs.wakeup import waker
from umbel.models import collection_calibrations, versions

bp = APIBlueprint("collections", __name__, tag="Collections")

LINKS = {
    "self": "/v1/collections/{}",
    "images": "/v1/images?collection={}",
    "calibration": "/v1/collections/{}/calibration",
}
Most = Annotated[int, Field(ge=0, lt=2**63)]


class CollectionIn(Strict):
    name: CollectionName


class CollectionPatchIn(Strict):
    model_config = ConfigDict(json_schema_extra={"examples": [{"max_images": 100_000}]})

    max_images: Most | None = Field(None, description="How many images it may have; null: no limit.")
    max_bytes: Most | None = Field(None, description="How many bytes these may have together; null: no limit.")


class CollectionsQuery(Strict):
    limit: Limit = 100
    cursor: Annotated[CollectionName | None, Field(description="`next_cursor` of the page before.")] = None


class CollectionOut(BaseModel):
    name: str = Field(examples=["garden"])
    images: int = Field(description="How many it has.", examples=[240])
    max_images: int | None = Field(description="Its quota; null: none.")
    max_bytes: int | None = Field(description="Its quota; null: none.")
    created_at: datetime
    links: dict[str, str] = Field(
        examples=[{"self": "/v1/collections/garden", "images": "/v1/images?collection=garden"}]
    )


class CollectionDetailOut(CollectionOut):
    calibration: SummaryOut | None = Field(
        description="Its own, for the active model version: what `identify` uses. null: it has none; then the model's."
    )


class CollectionsOut(BaseModel):
    items: list[CollectionOut]
    next_cursor: NextCursor


class DeletionOut(BaseModel):
    job_id: UUID
    status: JobStatus = Field(examples=["queued"])
    links: dict[str, str] = Field(examples=[{"job": "/v1/jobs/019b2f6e-0000-7000-8000-000000000000"}])


class NameConverter(BaseConverter):
    """A collection's name as part of a path. Any other text is a 404 without a query."""

    regex = COLLECTION_NAME


@bp.post("/v1/collections")
@bp.input(CollectionIn, arg_name="body")
@bp.output(CollectionOut, status_code=201, description="Created")
@bp.doc(responses=also(200, "There is one of that name already", "CollectionOut"))
def create_collection(body: CollectionIn) -> Any:
    """Create an empty collection; 200 with the existing one when the name is taken.

    Optional: uploads and imports create the collection that they name.
    """
    name = within(body.name)
    with transaction() as session:
        new = collections.insert_collection(session, name)
        row = collections.describe_collection(session, name)
    return _out(row), 201 if new else 200, {"Location": url_for("collections.get_collection", name=name)}


@bp.get("/v1/collections")
@bp.input(CollectionsQuery, location="query", arg_name="query")
@bp.output(CollectionsOut)
def list_collections(query: CollectionsQuery) -> Any:
    """List the collections with their number of images, by name."""
    with transaction() as session:
        rows = collections.list_collections(session, after=query.cursor, limit=query.limit + 1, within=reach())
    page = rows[: query.limit]
    more = len(rows) > query.limit
    return CollectionsOut(items=[_out(row) for row in page], next_cursor=page[-1].name if more else None)


@bp.get("/v1/collections/<collection:name>")
@bp.output(CollectionDetailOut)
def get_collection(name: str) -> Any:
    """Describe a collection, and its own calibration."""
    with transaction() as session:
        row = collections.describe_collection(session, name)
        own = None
        if active := versions.find_active_version(session):
            collection_id = collections.get_collection(session, name)
            own = collection_calibrations.find_calibration(session, collection_id, active.id)
    return answer_of(CollectionDetailOut, row, links=_out(row).links, calibration=own and summary_out(own))


@bp.patch("/v1/collections/<collection:name>")
@bp.input(CollectionPatchIn, arg_name="patch")
@bp.output(CollectionOut)
def change_collection(name: str, patch: CollectionPatchIn) -> Any:
    """Set a collection's quota. Uploads beyond it are rejected with 507; existing images stay."""
    changes = {field: getattr(patch, field) for field in patch.model_fields_set}
    if not changes:
        raise InvalidInput("Give max_images or max_bytes to change.")
    audit.note(**changes)
    with transaction() as session:
        quotas.set_quota(session, name, changes)
        return _out(collections.describe_collection(session, name))


@bp.delete("/v1/collections/<collection:name>")
@bp.output(DeletionOut, status_code=202, description="No longer found; a job removes its data")
def delete_collection(name: str) -> Any:
    """Delete a collection: its images, their bytes and embeddings, and its jobs.

    The collection and its images disappear at once, and its name is free. A job removes the data in the background;
    until it has finished, the same request answers with the same job.
    """
    begun = begin_deletion(transaction, waker(), name)
    link = url_for("jobs.get_job", job_id=begun.job_id)
    body = DeletionOut(job_id=begun.job_id, status=begun.status, links={"job": link})
    return body, 202, {"Location": link, "Retry-After": "1"}


def _out(row: CollectionRow) -> CollectionOut:
    links = {part: link_to(path.format(row.name)) for part, path in LINKS.items()}
    return answer_of(CollectionOut, row, links=links)

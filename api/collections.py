"""/v1/collections: created, listed, described, deleted."""

from typing import Any

from apiflask import APIBlueprint
from flask import url_for
from werkzeug.routing import BaseConverter

from api import audit
from api.access import reach, within
from api.errors import problems
from api.schemas.collections import (
    CollectionIn,
    CollectionOut,
    CollectionPatchIn,
    CollectionsOut,
    CollectionsQuery,
    DeletionOut,
)
from api.schemas.fields import NAME, answer_of
from umbel.base.database import transaction
from umbel.base.errors import InvalidInput
from umbel.gallery import collections, quotas
from umbel.gallery.collections import CollectionRow
from umbel.gallery.deletion import begin_deletion
from umbel.jobs.wakeup import waker

bp = APIBlueprint("collections", __name__, tag="Collections")

THERE_ALREADY = {
    "description": "There is one of that name already",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CollectionOut"}}},
}


class NameConverter(BaseConverter):
    """The part of a path that may be a collection's name; anything else is a 404 before it is looked for."""

    regex = NAME


@bp.post("/v1/collections")
@bp.input(CollectionIn, arg_name="body")
@bp.output(CollectionOut, status_code=201, description="Created")
@bp.doc(responses={200: THERE_ALREADY, **problems(400, 422)})
def create_collection(body: CollectionIn) -> Any:
    """Create a collection, empty; 200 with the one that is there when the name is taken.

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
@bp.doc(responses=problems(422))
def list_collections(query: CollectionsQuery) -> Any:
    """List the collections with their number of images, by name."""
    with transaction() as session:
        rows = collections.list_collections(session, after=query.cursor, limit=query.limit + 1, within=reach())
    page = rows[: query.limit]
    more = len(rows) > query.limit
    return CollectionsOut(items=[_out(row) for row in page], next_cursor=page[-1].name if more else None)


@bp.get("/v1/collections/<collection:name>")
@bp.output(CollectionOut)
@bp.doc(responses=problems(404))
def get_collection(name: str) -> Any:
    """Describe a collection."""
    with transaction() as session:
        return _out(collections.describe_collection(session, name))


@bp.patch("/v1/collections/<collection:name>")
@bp.input(CollectionPatchIn, arg_name="patch")
@bp.output(CollectionOut)
@bp.doc(responses=problems(400, 404, 422))
def change_collection(name: str, patch: CollectionPatchIn) -> Any:
    """Set a collection's quota. What would go beyond it is refused with 507; nothing is taken away."""
    changes = {field: getattr(patch, field) for field in patch.model_fields_set}
    if not changes:
        raise InvalidInput("Give max_images or max_bytes to change.")
    audit.note(**changes)
    with transaction() as session:
        quotas.set_quota(session, name, changes)
        return _out(collections.describe_collection(session, name))


@bp.delete("/v1/collections/<collection:name>")
@bp.output(DeletionOut, status_code=202, description="No longer found; a job removes its data")
@bp.doc(responses=problems(404, 503))
def delete_collection(name: str) -> Any:
    """Delete a collection: its images, their bytes and embeddings, and its jobs.

    The collection and its images are no longer found from now on, and its name is free. A job removes the data in the
    background; the same request meanwhile answers with the same job.
    """
    begun = begin_deletion(transaction, waker(), name)
    link = url_for("jobs.get_job", job_id=begun.job_id)
    body = DeletionOut(job_id=begun.job_id, status=begun.status, links={"job": link})
    return body, 202, {"Location": link, "Retry-After": "1"}


def _out(row: CollectionRow) -> CollectionOut:
    links = {"self": f"/v1/collections/{row.name}", "images": f"/v1/images?collection={row.name}"}
    return answer_of(CollectionOut, row, links=links)

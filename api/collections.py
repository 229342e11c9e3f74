"""/v1/collections: create, list, describe, limit and delete collections."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from apiflask import APIBlueprint
from flask import url_for
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy.orm import Session
from werkzeug.routing import BaseConverter

from api import audit
from api.access import reach, within
from api.calibrations import SummaryOut, summary_out
from api.errors import also, problems
from api.fields import CollectionName, Limit, NextCursor, Strict, answer_of, link_to
from umbel.base.database import transaction
from umbel.base.storable import COLLECTION_NAME
from umbel.base.types import JobStatus, Queue
from umbel.changes.tiling import estimate_tiling, set_tiles
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


Tiles = Literal[0, 4, 9]
TILES = (
    "Overlapping parts of each image that are embedded too, so that a detail finds its picture: 4 of 60 % of the sides,"
    " 9 of 50 %, or 0. POST /v1/search within the collection then tells the `box` that matched."
)


class CollectionIn(Strict):
    name: CollectionName
    tiles: Tiles = Field(0, description=f"{TILES} An existing collection stays as it is.")


class CollectionPatchIn(Strict):
    model_config = ConfigDict(json_schema_extra={"examples": [{"max_images": 100_000}]})

    max_images: Most | None = Field(None, description="How many images it may have; null: no limit.")
    max_bytes: Most | None = Field(None, description="How many bytes these may have together; null: no limit.")
    tiles: Tiles | None = Field(
        None,
        description=f"{TILES} What the images that are there take is in the answer's `tiling`; a job embeds them.",
    )
    dry_run: bool = Field(False, description="With `tiles`: change nothing, and only tell what it would take.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set & {"max_images", "max_bytes"} and self.tiles is None:
            raise ValueError("give max_images, max_bytes or tiles to change")
        if self.dry_run and self.tiles is None:
            raise ValueError("dry_run tells of tiles: give them")
        return self


class CollectionsQuery(Strict):
    limit: Limit = 100
    cursor: Annotated[CollectionName | None, Field(description="`next_cursor` of the page before.")] = None


class TilingOut(BaseModel):
    vectors: int = Field(description="Of tiles of the images that it has now.", examples=[960])
    bytes: int = Field(description="That these and their index take in the database.", examples=[2_457_600])
    seconds: float | None = Field(
        description="That workers will need to embed them, as fast as in the last jobs; null: there were none to tell.",
        examples=[12.5],
    )
    job_id: UUID | None = Field(description="That embeds them; null: there is nothing to do, or nothing was changed.")


class CollectionOut(BaseModel):
    name: str = Field(examples=["garden"])
    images: int = Field(description="How many it has.", examples=[240])
    max_images: int | None = Field(description="Its quota; null: none.")
    max_bytes: int | None = Field(description="Its quota; null: none.")
    tiles: Tiles = Field(description="Parts of each image that are searched beside the whole.", examples=[0])
    tiling: TilingOut | None = Field(
        None, exclude_if=lambda value: value is None, description="After a change of `tiles`: what it takes."
    )
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
        new = collections.insert_collection(session, name, tiles=body.tiles)
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
    calibration = own and summary_out(own)
    return answer_of(CollectionDetailOut, row, links=_out(row).links, tiling=None, calibration=calibration)


@bp.patch("/v1/collections/<collection:name>")
@bp.input(CollectionPatchIn, arg_name="patch")
@bp.output(CollectionOut)
@bp.doc(responses=problems(409))
def change_collection(name: str, patch: CollectionPatchIn) -> Any:
    """Set a collection's quota, or how many tiles its images have.

    Uploads beyond the quota are rejected with 507; existing images stay. With `tiles`, a job embeds those of the images
    that are there; with 0 they are removed. From 4 to 9, or back, goes by 0: 409 otherwise.
    """
    quota = {field: getattr(patch, field) for field in patch.model_fields_set & {"max_images", "max_bytes"}}
    audit.note(**{field: getattr(patch, field) for field in patch.model_fields_set})
    with transaction() as session:
        if patch.dry_run:
            return _out(collections.describe_collection(session, name), tiling=_tiling(session, name, patch.tiles))
        tiling = None
        if patch.tiles is not None:
            tiling = _tiling(session, name, patch.tiles)
            tiling.job_id = set_tiles(session, name, patch.tiles)
        if quota:
            quotas.set_quota(session, name, quota)
        row = collections.describe_collection(session, name)
    if tiling and tiling.job_id:
        waker().wake(Queue.CHANGE)
    return _out(row, tiling=tiling)


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


def _tiling(session: Session, name: str, tiles: int | None) -> TilingOut:
    return answer_of(TilingOut, estimate_tiling(session, name, tiles or 0), job_id=None)


def _out(row: CollectionRow, *, tiling: TilingOut | None = None) -> CollectionOut:
    links = {part: link_to(path.format(row.name)) for part, path in LINKS.items()}
    return answer_of(CollectionOut, row, links=links, tiling=tiling)

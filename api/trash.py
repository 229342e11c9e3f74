"""/v1/trash: removed images, which can be restored for some days.

Apart from /v1/images, as what lies here is not in the gallery: it has no file, no status, no neighbors.
"""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.access import within
from api.bulk import BEGUN, MOST_IDS, RESPONSES, AnyFilter, BulkOut, begun
from api.errors import problems
from api.fields import SHA256, CollectionName, FilterText, NextCursor, PageQuery, Strict, answer_of, page_of
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.types import JobType
from umbel.changes.bulk_rows import Chosen
from umbel.gallery import collections, trash
from umbel.gallery.filters import Filter

bp = APIBlueprint("trash", __name__, tag="Trash")


class TrashQuery(PageQuery):
    collection: CollectionName | None = None
    filter: FilterText = Field(default_factory=Filter)
    job_id: UUID | None = Field(None, description="Only what this job removed.")


class TrashChosenIn(Strict):
    """Which images of the trash: `ids`, those that pass a filter, or those that a job removed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ids": ["019b2f6e-0000-7000-8000-000000000000"], "collection": "garden"}]}
    )

    collection: CollectionName | None = Field(None, description="Left out: of all collections that the key is for.")
    ids: list[UUID] | None = Field(None, min_length=1, max_length=MOST_IDS)
    filter: AnyFilter | None = Field(None, description="As in the body of a search; `{}`: all.")
    job_id: UUID | None = Field(None, description="The job that removed them.")

    @property
    def chosen(self) -> Chosen:
        return Chosen(self.ids, self.filter, self.job_id)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(part is not None for part in (self.ids, self.filter, self.job_id)) != 1:
            raise ValueError("exactly one of ids, filter and job_id must be given")
        return self


class TrashedOut(BaseModel):
    image_id: UUID
    collection: str = Field(examples=["garden"])
    name: str | None = Field(examples=["tulips/1.jpg"])
    external_id: str | None = Field(examples=["sku-1042"])
    label: str | None = Field(examples=["tulip"])
    metadata: dict[str, Any] = Field(examples=[{"camera": "X100V"}])
    sha256: str = Field(description="Of the bytes as they arrived, hex.", examples=[SHA256])
    size: int = Field(description="Bytes of the file as it arrived.")
    created_at: datetime
    trashed_at: datetime
    purged_at: datetime = Field(description="From when on it cannot be restored any more.")
    job_id: UUID | None = Field(description="The job that removed it, if one did.")


class TrashOut(BaseModel):
    items: list[TrashedOut]
    next_cursor: NextCursor


@bp.get("/v1/trash")
@bp.input(TrashQuery, location="query", arg_name="query")
@bp.output(TrashOut)
@bp.doc(responses=problems(404))
def list_trash(query: TrashQuery) -> Any:
    """List removed images that can be restored, the newest image first."""
    collection = within(query.collection)
    with transaction() as session:
        collections.id_of(session, query.collection)  # raises; the one that a key is for may still have to come
        rows = trash.list_trashed(
            session,
            collection=collection,
            asked=query.filter,
            job_id=query.job_id,
            days=settings().trash_days,
            before=query.cursor,
            limit=query.limit + 1,
        )
    page, cursor = page_of(rows, query.limit)
    items = [answer_of(TrashedOut, row, image_id=row.id, metadata=row.meta, sha256=row.sha256.hex()) for row in page]
    return TrashOut(items=items, next_cursor=cursor)


@bp.post("/v1/trash:restore")
@bp.input(TrashChosenIn, arg_name="body")
@bp.output(BulkOut, **BEGUN)
@bp.doc(responses=RESPONSES)
def restore_images(body: TrashChosenIn) -> Any:
    """Restore removed images as they were, by a job: one, many, or all that a job removed.

    An image whose bytes came in again meanwhile counts as `duplicate`, and one whose external id another has by now as
    failed; both stay in the trash. Vectors come back, too, so that searches find the images again at once.
    """
    return begun(JobType.RESTORATION, body.chosen, collection=within(body.collection))


@bp.delete("/v1/trash")
@bp.input(TrashChosenIn, arg_name="body")
@bp.output(BulkOut, **BEGUN)
@bp.doc(responses=RESPONSES)
def purge_images(body: TrashChosenIn) -> Any:
    """Remove images of the trash for ever, with their bytes, before UMBEL_TRASH_DAYS are over, by a job."""
    return begun(JobType.PURGE, body.chosen, collection=within(body.collection))

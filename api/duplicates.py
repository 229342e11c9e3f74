"""/v1/duplicates: compare images, and list the near-duplicates."""

from contextlib import nullcontext
from typing import Annotated, Any, Literal
from uuid import UUID

from apiflask import APIBlueprint
from flask import url_for
from pydantic import BaseModel, Field

from api import rooms
from api.access import check_images, within
from api.errors import also, problems
from api.fields import (
    CollectionName,
    Links,
    NextCursor,
    PageQuery,
    Strict,
    VersionToUse,
    answer_of,
    image_links,
    page_of,
)
from umbel.base.database import transaction
from umbel.insights.comparison import begin_comparison
from umbel.insights.duplicate_groups import COPY_DISTANCE, USUAL, Limits
from umbel.insights.duplicates import Group, find_duplicates
from umbel.jobs.wakeup import waker

bp = APIBlueprint("duplicates", __name__, tag="Duplicates")


class ComparisonIn(Strict):
    collection: CollectionName | None = Field(None, description="Left out: every collection, each within itself.")
    model_version: VersionToUse = None
    again: bool = Field(False, description="Compare all pictures, also those that were compared before.")


class ComparisonOut(BaseModel):
    job_id: UUID | None
    status: Literal["queued", "up_to_date"]
    images: int = Field(description="How many are to be compared.")


class DuplicatesQuery(PageQuery):
    collection: CollectionName | None = None
    model_version: VersionToUse = None
    image_id: Annotated[UUID, Field(description="Only the group that has this image, if any.")] | None = None
    max_distance: Annotated[
        float,
        Field(ge=0, le=COPY_DISTANCE, allow_inf_nan=False, description="Cosine distance of two pictures of a group."),
    ] = USUAL.max_distance
    min_pixel_similarity: Annotated[
        float,
        Field(ge=0, le=1, allow_inf_nan=False, description="Of their pixels; 0: the distance alone decides."),
    ] = USUAL.min_pixel_similarity


class MemberOut(BaseModel):
    image_id: UUID
    name: str | None = Field(examples=["tulips/1.jpg"])
    external_id: str | None = Field(examples=["sku-1042"])
    label: str | None = Field(examples=["tulip"])
    width: int = Field(description="Pixels, upright.", examples=[640])
    height: int = Field(description="Pixels, upright.", examples=[480])
    size: int = Field(description="Bytes of the file.")
    sharpness: float | None = Field(description="Comparable within the group; null where the picture was not seen.")
    distance_to_keep: float = Field(description="Cosine distance to the picture to keep.")
    links: Links


class GroupOut(BaseModel):
    keep: UUID = Field(description="The picture with most pixels, then the sharpest, the largest file, the oldest.")
    collection: str = Field(examples=["garden"])
    size: int = Field(description="How many pictures; of a very large group not all are listed.")
    largest_distance: float = Field(description="Of any of them to the picture to keep.")
    images: list[MemberOut] = Field(description="The one to keep, then the others, nearest first.")


class DuplicatesOut(BaseModel):
    items: list[GroupOut]
    next_cursor: NextCursor
    max_distance: float
    min_pixel_similarity: float
    model_version: UUID
    compared: int = Field(description="Images that were compared.")
    waiting: int = Field(description="Pictures that have not been compared yet: POST /v1/duplicates.")


@bp.post("/v1/duplicates")
@bp.input(ComparisonIn, arg_name="body")
@bp.output(ComparisonOut, status_code=202, description="Queued")
@bp.doc(
    responses=also(200, "All images were compared before", "ComparisonOut") | problems(404, 409),
)
def compare(body: ComparisonIn) -> Any:
    """Compare the images of a collection that are new since the last comparison, or all of them.

    202 with a job to follow; 200 when there is nothing to compare; 409 while such a job is unfinished. The comparison
    finds both near-duplicates and label issues.
    """
    begun = begin_comparison(
        transaction, waker(), collection=within(body.collection), again=body.again, version_id=body.model_version
    )
    if begun is None:
        return ComparisonOut(job_id=None, status="up_to_date", images=0), 200
    headers = {"Location": url_for("jobs.get_job", job_id=begun.job_id), "Retry-After": "1"}
    return ComparisonOut(job_id=begun.job_id, status="queued", images=begun.images), 202, headers


@bp.get("/v1/duplicates")
@bp.input(DuplicatesQuery, location="query", arg_name="query")
@bp.output(DuplicatesOut)
@bp.doc(responses=problems(404, 503))
def list_duplicates(query: DuplicatesQuery) -> Any:
    """List groups of near-duplicates, the one with the newest image first, each with the image to keep.

    `waiting` counts the images that have not been compared yet and are in no group.
    """
    if query.image_id is not None:
        check_images([query.image_id])
    usual = Limits(query.max_distance, query.min_pixel_similarity) == USUAL
    with nullcontext() if usual else rooms.graphs().place(), transaction() as session:
        found = find_duplicates(
            session,
            collection=within(query.collection),
            version_id=query.model_version,
            image_id=query.image_id,
            max_distance=query.max_distance,
            min_pixel_similarity=query.min_pixel_similarity,
            before=query.cursor,
            limit=query.limit + 1,
        )
    page, cursor = page_of(found.groups, query.limit)
    return DuplicatesOut(
        items=[_group_out(group) for group in page],
        next_cursor=cursor,
        max_distance=query.max_distance,
        min_pixel_similarity=query.min_pixel_similarity,
        model_version=found.version_id,
        compared=found.progress.compared,
        waiting=found.progress.waiting,
    )


def _group_out(group: Group) -> GroupOut:
    keep = group.members[0].copy
    return GroupOut(
        keep=keep.image_id,
        collection=keep.collection,
        size=group.size,
        largest_distance=group.largest_distance,
        images=[
            answer_of(
                MemberOut,
                member.copy,
                distance_to_keep=member.distance_to_keep,
                links=image_links(member.copy.image_id),
            )
            for member in group.members
        ],
    )

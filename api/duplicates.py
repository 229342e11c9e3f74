"""/v1/duplicates: comparisons begun, near-duplicates listed."""

from typing import Any
from uuid import UUID

from apiflask import APIBlueprint
from flask import url_for

from api.access import check_images, within
from api.errors import problems
from api.schemas.duplicates import ComparisonIn, ComparisonOut, DuplicatesOut, DuplicatesQuery, GroupOut, MemberOut
from api.schemas.fields import answer_of, page_of
from umbel.base.database import transaction
from umbel.insights.comparison import begin_comparison
from umbel.insights.duplicates import Group, find_duplicates
from umbel.jobs.wakeup import waker

bp = APIBlueprint("duplicates", __name__, tag="Duplicates")

UP_TO_DATE = {
    "description": "All pictures were compared before",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ComparisonOut"}}},
}


@bp.post("/v1/duplicates")
@bp.input(ComparisonIn, arg_name="body")
@bp.output(ComparisonOut, status_code=202, description="Queued")
@bp.doc(responses={200: UP_TO_DATE, **problems(400, 404, 409, 422, 503)})
def compare(body: ComparisonIn) -> Any:
    """Compare the pictures of a collection that are new since the last comparison, or all of them.

    202 with a job to follow; 200 when there is nothing to compare; 409 while such a job is unfinished. The lists of
    near-duplicates and of label issues both come of it.
    """
    begun = begin_comparison(transaction, waker(), collection=within(body.collection), again=body.again)
    if begun is None:
        return ComparisonOut(job_id=None, status="up_to_date", images=0), 200
    headers = {"Location": url_for("jobs.get_job", job_id=begun.job_id), "Retry-After": "1"}
    return ComparisonOut(job_id=begun.job_id, status="queued", images=begun.images), 202, headers


@bp.get("/v1/duplicates")
@bp.input(DuplicatesQuery, location="query", arg_name="query")
@bp.output(DuplicatesOut)
@bp.doc(responses=problems(404, 422, 503))
def list_duplicates(query: DuplicatesQuery) -> Any:
    """List groups of near-duplicates, the one with the newest picture first, each with the picture to keep.

    `waiting` says how many pictures have not been compared yet, so are in no group.
    """
    if query.image_id is not None:
        check_images([query.image_id])
    with transaction() as session:
        found = find_duplicates(
            session,
            collection=within(query.collection),
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


def image_links(image_id: UUID) -> dict[str, str]:
    link = f"/v1/images/{image_id}"
    return {"self": link} | {part: f"{link}/{part}" for part in ("file", "thumbnail")}


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

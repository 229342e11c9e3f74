"""/v1/label-issues: labels that are probably wrong, by their neighbors."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from apiflask import APIBlueprint
from pydantic import BaseModel, Field

from api.access import within
from api.errors import problems
from api.fields import CollectionName, Limit, Links, NextCursor, Strict, VersionToUse, answer_of, image_links
from api.ranked_pages import cursor_of, place_of, ranked_cursor
from umbel.base.database import transaction
from umbel.insights.label_errors import MIN_PROBABILITY, LabelIssue, find_label_issues

bp = APIBlueprint("label_issues", __name__, tag="Label issues")


class LabelIssuesQuery(Strict):
    collection: CollectionName | None = None
    model_version: VersionToUse = None
    min_probability: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = MIN_PROBABILITY
    limit: Limit = 50
    cursor: Annotated[str, *ranked_cursor(1)] | None = None


class NeighborOut(BaseModel):
    image_id: UUID
    label: str = Field(examples=["tulip"])
    distance: float = Field(description="Cosine distance, 0 to 2; lower is nearer.", examples=[0.12])
    links: Links


class LabelIssueOut(BaseModel):
    image_id: UUID
    collection: str = Field(examples=["garden"])
    name: str | None = Field(examples=["tulips/1.jpg"])
    external_id: str | None = Field(examples=["sku-1042"])
    label: str = Field(examples=["tulip"])
    suggested_label: str
    label_error_probability: float = Field(
        description="Probability, by the vote of its neighbors, that it is of the suggested label."
    )
    evidence: list[NeighborOut] = Field(description="Its nearest labelled neighbors.")
    compared_at: datetime
    links: dict[str, str] = Field(description="PATCH self to set the label right.")


class LabelIssuesOut(BaseModel):
    items: list[LabelIssueOut]
    next_cursor: NextCursor
    min_probability: float
    calibrated: bool = Field(
        description="Whether label_error_probability is calibrated; else it is a share of the votes."
    )
    model_version: UUID
    compared: int = Field(description="Pictures that were compared, with a label or without.")
    waiting: int = Field(description="Pictures that have not been compared yet: POST /v1/duplicates.")


@bp.get("/v1/label-issues")
@bp.input(LabelIssuesQuery, location="query", arg_name="query")
@bp.output(LabelIssuesOut)
@bp.doc(responses=problems(404))
def list_label_issues(query: LabelIssuesQuery) -> Any:
    """List the images whose neighbors say that their label is wrong, the most probable error first.

    POST /v1/duplicates compares what is new. An image whose label was changed since is left out until then.
    """
    with transaction() as session:
        found = find_label_issues(
            session,
            collection=within(query.collection),
            version_id=query.model_version,
            min_probability=query.min_probability,
            after=place_of(query.cursor) if query.cursor else None,
            limit=query.limit + 1,
        )
    page = found.issues[: query.limit]
    more = len(found.issues) > query.limit
    return LabelIssuesOut(
        items=[_issue_out(issue) for issue in page],
        next_cursor=cursor_of(page[-1].image.label_error_probability, page[-1].image.id) if more else None,
        min_probability=query.min_probability,
        calibrated=found.calibrated,
        model_version=found.version_id,
        compared=found.progress.compared,
        waiting=found.progress.waiting,
    )


def _issue_out(issue: LabelIssue) -> LabelIssueOut:
    image = issue.image
    evidence = [answer_of(NeighborOut, one, links=image_links(one.image_id)) for one in issue.evidence]
    return answer_of(LabelIssueOut, image, image_id=image.id, evidence=evidence, links=image_links(image.id))

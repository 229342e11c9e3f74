"""/v1/label-issues: labels that are probably wrong, by their neighbors."""

from typing import Any

from apiflask import APIBlueprint

from api.access import within
from api.duplicates import image_links
from api.errors import problems
from api.schemas.fields import answer_of
from api.schemas.label_issues import (
    LabelIssueOut,
    LabelIssuesOut,
    LabelIssuesQuery,
    NeighborOut,
    cursor_of,
    place_of,
)
from umbel.base.database import transaction
from umbel.insights.label_errors import LabelIssue, find_label_issues

bp = APIBlueprint("label_issues", __name__, tag="Label issues")


@bp.get("/v1/label-issues")
@bp.input(LabelIssuesQuery, location="query", arg_name="query")
@bp.output(LabelIssuesOut)
@bp.doc(responses=problems(404, 422, 503))
def list_label_issues(query: LabelIssuesQuery) -> Any:
    """List the images whose neighbors say that their label is wrong, the most probable error first.

    POST /v1/duplicates compares what is new. An image whose label was changed since is left out until then.
    """
    with transaction() as session:
        found = find_label_issues(
            session,
            collection=within(query.collection),
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

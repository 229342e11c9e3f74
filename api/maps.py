"""/v1/map: the gallery in the plane, similar pictures near each other."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from apiflask import APIBlueprint
from flask import url_for

from api.access import within
from api.errors import problems
from api.schemas.maps import MapAccepted, MapIn, MapOut, MapQuery
from umbel.base.database import transaction
from umbel.base.types import JobStatus
from umbel.insights.projection import begin_map, find_map
from umbel.insights.projection_rows import MapPoint
from umbel.jobs.wakeup import waker

bp = APIBlueprint("maps", __name__, tag="Map")

DIGITS = 5


@bp.get("/v1/map")
@bp.input(MapQuery, location="query", arg_name="query")
@bp.output(MapOut)
@bp.doc(responses=problems(404, 422, 503))
def get_map(query: MapQuery) -> Any:
    """Every picture as a point, from the newest map of the collection, or of all, under the active model version.

    Near each other is what the model finds similar; farther apart, distances mean nothing.
    """
    collection = within(query.collection)
    with transaction() as session:
        shown = find_map(session, collection=collection)
    labels = _labels(shown.points)
    index = {label: at for at, label in enumerate(labels)}
    return MapOut(
        model_version=shown.version_id,
        collection=collection,
        computed_at=shown.computed and shown.computed.computed_at,
        images=shown.computed.images if shown.computed else 0,
        new=shown.new,
        labels=labels,
        ids=[point.image_id for point in shown.points],
        x=[round(point.x, DIGITS) for point in shown.points],
        y=[round(point.y, DIGITS) for point in shown.points],
        label=[-1 if point.label is None else index[point.label] for point in shown.points],
    )


@bp.post("/v1/map")
@bp.input(MapIn, arg_name="body")
@bp.output(MapAccepted, status_code=202, description="Queued")
@bp.doc(responses=problems(400, 404, 409, 422, 503))
def compute_map(body: MapIn) -> Any:
    """Have the map computed with the active model version. 409 while that is being done, or without a picture."""
    collection = within(body.collection)
    job_id = begin_map(transaction, waker(), collection=collection)
    link = url_for("jobs.get_job", job_id=job_id)
    links = {"self": link, "cancel": f"{link}/cancel", "map": url_for("maps.get_map", collection=collection)}
    accepted = MapAccepted(job_id=job_id, status=JobStatus.QUEUED, links=links)
    return accepted, 202, {"Location": link, "Retry-After": "1"}


def _labels(points: Sequence[MapPoint]) -> list[str]:
    counts = Counter(point.label for point in points if point.label is not None)
    return [label for label, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]

"""/v1/map: the gallery in two dimensions, similar images near each other."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from apiflask import APIBlueprint
from flask import url_for
from pydantic import BaseModel, Field

from api.access import within
from api.errors import problems
from api.fields import CollectionName, Strict, VersionToUse
from umbel.base.database import transaction
from umbel.base.types import JobStatus
from umbel.insights.projection import begin_map, find_map
from umbel.insights.projection_rows import MapPoint
from umbel.jobs.wakeup import waker

bp = APIBlueprint("maps", __name__, tag="Map")

DIGITS = 5


class MapQuery(Strict):
    collection: CollectionName | None = None
    model_version: VersionToUse = None


class MapIn(Strict):
    collection: CollectionName | None = Field(None, description="Left out: all pictures on one map.")
    model_version: VersionToUse = None


class MapAccepted(BaseModel):
    job_id: UUID
    status: JobStatus = Field(examples=["queued"])
    links: dict[str, str]


class MapOut(BaseModel):
    """Point i is the image ids[i], at x[i], y[i], labelled labels[label[i]]."""

    model_version: UUID
    collection: str | None
    computed_at: datetime | None = Field(description="null: it was never computed, so there are no points.")
    images: int = Field(description="That had a vector when it was computed; of more than 50,000 a sample is shown.")
    new: int = Field(description="Pictures that have come since: POST /v1/map computes it anew.")
    labels: list[str] = Field(description="The most frequent first.")
    ids: list[UUID]
    x: list[float] = Field(description="0 to 1, to the right.")
    y: list[float] = Field(description="0 to 1, upwards.")
    label: list[int] = Field(description="Index into `labels`; -1: no label.")


@bp.get("/v1/map")
@bp.input(MapQuery, location="query", arg_name="query")
@bp.output(MapOut)
@bp.doc(responses=problems(404))
def get_map(query: MapQuery) -> Any:
    """Return the newest map of the collection, or of all: every image is a point.

    Images near each other are similar; larger distances mean nothing.
    """
    collection = within(query.collection)
    with transaction() as session:
        shown = find_map(session, collection=collection, version_id=query.model_version)
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
@bp.doc(responses=problems(404, 409))
def compute_map(body: MapIn) -> Any:
    """Compute the map with the active model version, or another. 409 while it is computed, or without an image."""
    collection = within(body.collection)
    job_id = begin_map(transaction, waker(), collection=collection, version_id=body.model_version)
    link = url_for("jobs.get_job", job_id=job_id)
    shown = url_for("maps.get_map", collection=collection, model_version=body.model_version)
    links = {"self": link, "cancel": f"{link}/cancel", "map": shown}
    accepted = MapAccepted(job_id=job_id, status=JobStatus.QUEUED, links=links)
    return accepted, 202, {"Location": link, "Retry-After": "1"}


def _labels(points: Sequence[MapPoint]) -> list[str]:
    counts = Counter(point.label for point in points if point.label is not None)
    return [label for label, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]

"""/v1/collections/{name}/calibration: fit a collection's own calibration, describe and remove it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from apiflask import APIBlueprint
from pydantic import BaseModel, Field

from api.errors import problems
from api.fields import answer_of
from umbel.base.database import transaction
from umbel.base.errors import NotFound
from umbel.gallery import collections
from umbel.models import collection_calibrations, versions
from umbel.models.calibration import Distances, Fitted, Quality, VoteRule
from umbel.models.collection_calibrations import OwnCalibration
from umbel.search.calibrating import calibrate

bp = APIBlueprint("calibrations", __name__, tag="Collections")


class SummaryOut(BaseModel):
    """What a collection tells of its calibration."""

    model_version: UUID = Field(description="The version it was fitted for; of others it says nothing.")
    calibrated_at: datetime
    images: int = Field(description="Labelled images that it was fitted on.", examples=[240])
    labels: int = Field(description="Their labels.", examples=[8])
    unknown_below: float = Field(description="Below this probability an answer is: unknown.", examples=[0.71])
    answered: float = Field(description="Share of the queries of known kinds that were answered.", examples=[0.9])
    accuracy: float = Field(description="Share of the answers that were right.", examples=[0.95])
    unknown_refused: float = Field(description="Share of the queries of unknown kinds refused.", examples=[0.93])


class CalibrationOut(SummaryOut):
    vote: VoteRule
    distances: Distances
    quality: Quality
    fitted: Fitted


def summary_out(own: OwnCalibration) -> SummaryOut:
    """The calibration in short."""
    return SummaryOut(**_summary(own))


@bp.post("/v1/collections/<collection:name>/calibration")
@bp.output(CalibrationOut)
@bp.doc(responses=problems(404, 409))
def calibrate_collection(name: str) -> Any:
    """Fit a calibration to the collection's own labels, for the active model version; it takes the former one's place.

    Each labelled image is identified among the others, once with its label in the gallery and once without, which
    tells what a vote is worth here and when to say "unknown". `POST /v1/identify` within the collection uses it. Up to
    1,000 images are asked for among 20,000, which takes seconds. `409 too_few_labels` says how many labels it takes.
    """
    return _out(calibrate(transaction, name))


@bp.get("/v1/collections/<collection:name>/calibration")
@bp.output(CalibrationOut)
@bp.doc(responses=problems(404))
def get_calibration(name: str) -> Any:
    """Describe the collection's own calibration for the active model version."""
    with transaction() as session:
        version = versions.get_active_key(session)
        own = collection_calibrations.find_calibration(session, collections.get_collection(session, name), version.id)
    if own is None:
        raise NotFound(f"The collection {name!r} has no calibration for the active model; POST here fits one.")
    return _out(own)


@bp.delete("/v1/collections/<collection:name>/calibration")
@bp.output({}, status_code=204, description="It has none of its own any more")
@bp.doc(responses=problems(404))
def remove_calibration(name: str) -> Any:
    """Remove the collection's own calibrations, for all model versions. Twice is harmless."""
    with transaction() as session:
        collection_id = collections.get_collection(session, name)
        collection_calibrations.delete_calibrations(session, collection_id=collection_id)
    return "", 204


def _out(own: OwnCalibration) -> CalibrationOut:
    return answer_of(CalibrationOut, own.calibration, **_summary(own))


def _summary(own: OwnCalibration) -> dict[str, Any]:
    quality, fitted = own.calibration.quality, own.calibration.fitted
    return {
        "model_version": own.model_version_id,
        "calibrated_at": own.calibrated_at,
        "images": fitted.pictures,
        "labels": fitted.classes,
        "unknown_below": own.calibration.vote.unknown_below,
        "answered": quality.answered,
        "accuracy": quality.accuracy,
        "unknown_refused": quality.unknown_refused,
    }

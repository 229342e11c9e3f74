"""Label issues: images whose neighbors say that their label is wrong, and what those are labelled themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from umbel.gallery import collections
from umbel.insights import label_error_rows, nearest_neighbors
from umbel.insights.label_error_rows import LabelErrorImage
from umbel.insights.nearest_neighbors import Progress
from umbel.models import versions
from umbel.models.calibration import calibration_of

MIN_PROBABILITY = 0.5  # more probably another label than not
EVIDENCE = 5  # neighbors shown


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A labelled neighbor."""

    image_id: UUID
    label: str
    distance: float


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """A doubted image, and its nearest labelled neighbors with the labels they have now."""

    image: LabelErrorImage
    evidence: list[Neighbor]


@dataclass(frozen=True, slots=True)
class Found:
    """Issues, the most doubted first, and how much of the collection they speak for. calibrated: see `label_error`."""

    issues: list[LabelIssue]
    version_id: UUID
    calibrated: bool
    progress: Progress


def find_label_issues(
    session: Session, *, collection: str | None, min_probability: float, after: tuple[float, UUID] | None, limit: int
) -> Found:
    """Up to `limit` issues after the one with this doubt and id. Raises NotFound, NotReady."""
    version = versions.get_active_version(session)
    collection_id = collections.get_collection(session, collection) if collection is not None else None
    doubted = label_error_rows.list_label_errors(
        session, version.id, collection_id, min_probability=min_probability, after=after, limit=limit
    )
    labels = label_error_rows.list_labels(session, [other for image in doubted for other in image.neighbors])
    progress = nearest_neighbors.count_compared(session, version.id, collection_id)
    issues = [LabelIssue(image, _evidence(image, labels)) for image in doubted]
    return Found(issues, version.id, calibration_of(version) is not None, progress)


def _evidence(image: LabelErrorImage, labels: Mapping[UUID, str]) -> list[Neighbor]:
    near = zip(image.neighbors, image.distances, strict=True)
    return [Neighbor(other, labels[other], distance) for other, distance in near if other in labels][:EVIDENCE]

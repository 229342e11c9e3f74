"""Label issues: how probable it is, by an image's neighbors, that its label is wrong, and the images where it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.gallery import collections
from umbel.insights import nearest_neighbors
from umbel.insights.nearest_neighbors import Progress
from umbel.models import collection_calibrations, versions
from umbel.models.calibration import Calibration
from umbel.search.vote import TEMPERATURE, K, tally, vote

MIN_PROBABILITY = 0.5  # more probably another label than not
EVIDENCE = 5  # neighbors shown


@dataclass(frozen=True, slots=True)
class LabelError:
    """suggested: the label that speaks most against the given one, right with label_error_probability in [0, 1]."""

    suggested: str | None
    label_error_probability: float


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A labelled neighbor."""

    image_id: UUID
    label: str
    distance: float


@dataclass(frozen=True, slots=True)
class LabelErrorImage:
    """An image whose label is probably wrong, with the neighbors that voted on it, nearest first."""

    id: UUID
    collection: str
    name: str | None
    external_id: str | None
    label: str
    suggested_label: str
    label_error_probability: float
    neighbors: list[UUID]
    distances: list[float]
    compared_at: datetime


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """Such an image, and its nearest labelled neighbors with the labels they have now."""

    image: LabelErrorImage
    evidence: list[Neighbor]


@dataclass(frozen=True, slots=True)
class Found:
    """Issues, the most probable error first, and how much of the collection they speak for.

    calibrated: whether their probabilities rest on a calibration, see `label_error_probability`.
    """

    issues: list[LabelIssue]
    version_id: UUID
    calibrated: bool
    progress: Progress


def label_error_probability(
    label: str, distances: Sequence[float], labels: Sequence[str | None], calibration: Calibration | None
) -> LabelError | None:
    """How probably `label` is wrong, by neighbors (distances, labels) without the image itself. None: they say nothing.

    It is the probability that the vote gives the best *other* label: large only where neighbors are near and agree on
    something else. A picture unlike all others has little, since nothing speaks for another label. Without a
    calibration: the other label's share of the votes, which does not know how near is near.
    Raises ValueError as `umbel.search.vote.vote` does.
    """
    if calibration is None:
        scores = [(one.label, one.share) for one in tally(distances, labels, k=K, temperature=TEMPERATURE)]
    else:
        scores = [(one.label, one.score) for one in vote(distances, labels, calibration).ranked]
    if not scores:
        return None
    return next((LabelError(other, score) for other, score in scores if other != label), LabelError(None, 0.0))


def find_label_issues(
    session: Session,
    *,
    collection: str | None,
    min_probability: float,
    after: tuple[float, UUID] | None,
    limit: int,
    version_id: UUID | None = None,
) -> Found:
    """Up to `limit` issues after the one with this probability and id. Raises NotFound, NotReady.

    version_id: by whose vectors; None: the active version's.
    """
    version = versions.get_version_to_use(session, version_id)
    collection_id = collections.id_of(session, collection)
    found = _list_label_errors(session, version.id, collection_id, least=min_probability, after=after, limit=limit)
    labels = _list_labels(session, [other for image in found for other in image.neighbors])
    progress = nearest_neighbors.count_compared(session, version.id, collection_id)
    issues = [LabelIssue(image, _evidence(image, labels)) for image in found]
    calibrated = collection_calibrations.calibration_for(session, collection_id, version) is not None
    return Found(issues, version.id, calibrated, progress)


def _evidence(image: LabelErrorImage, labels: Mapping[UUID, str]) -> list[Neighbor]:
    near = zip(image.neighbors, image.distances, strict=True)
    return [Neighbor(other, labels[other], distance) for other, distance in near if other in labels][:EVIDENCE]


def _list_label_errors(
    session: Session,
    version_id: UUID,
    collection_id: UUID | None,
    *,
    least: float,
    after: tuple[float, UUID] | None,
    limit: int,
) -> list[LabelErrorImage]:
    """Up to `limit` images, the most probable error first, after the one with this probability and id.

    Not those whose label was changed since their neighbors voted on it.
    """
    within = "AND n.collection_id = :collection" if collection_id else ""
    following = "AND (n.label_error_probability, n.image_id) < (CAST(:after AS real), CAST(:image AS uuid))"
    probability, image = after or (None, None)
    rows = session.execute(
        text(f"""
            SELECT i.id, c.name, i.name, i.external_id, i.label, n.suggested_label, n.label_error_probability,
                   n.neighbors, n.distances, n.compared_at
            FROM nearest_neighbors n
            JOIN image i ON i.id = n.image_id AND i.label = n.voted_label
            JOIN collection c ON c.id = n.collection_id AND c.deleted_at IS NULL
            WHERE n.model_version_id = :version AND n.label_error_probability > 0
              AND n.label_error_probability >= CAST(:least AS real) {within} {following if after else ""}
            ORDER BY n.label_error_probability DESC, n.image_id DESC LIMIT :limit
        """),
        {
            "version": version_id,
            "collection": collection_id,
            "least": least,
            "after": probability,
            "image": image,
            "limit": limit,
        },
    )
    return [LabelErrorImage(*row) for row in rows]


def _list_labels(session: Session, images: Sequence[UUID]) -> dict[UUID, str]:
    """{image id: label} of those of `images` that have one."""
    rows = session.execute(
        text("SELECT id, label FROM image WHERE id = ANY (:images) AND label IS NOT NULL"), {"images": list(images)}
    )
    return {row[0]: row[1] for row in rows}

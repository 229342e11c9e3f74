"""`umbel.duplicates` and `umbel.label_issues`: what a comparison of all images finds."""

from collections.abc import Iterator
from uuid import UUID

from umbel_client.answer import Answer
from umbel_client.connection import Connection, given
from umbel_client.jobs import Jobs, Work


class Duplicate(Answer):
    """size in bytes; distance_to_keep: cosine."""

    image_id: UUID
    name: str | None
    external_id: str | None = None
    label: str | None
    width: int
    height: int
    size: int
    sharpness: float | None
    distance_to_keep: float


class DuplicateGroup(Answer):
    """images: the one to keep, then the others, nearest first."""

    keep: UUID
    collection: str
    size: int
    largest_distance: float
    images: list[Duplicate]


class Duplicates(Answer):
    """A page of groups of the `compared` images; `waiting` ones have not been compared yet."""

    items: list[DuplicateGroup]
    next_cursor: str | None
    compared: int
    waiting: int


class Neighbor(Answer):
    """A labelled image near another one. distance: cosine, 0 to 2."""

    image_id: UUID
    label: str
    distance: float


class LabelIssue(Answer):
    """evidence: the nearest labelled neighbors."""

    image_id: UUID
    collection: str
    name: str | None
    external_id: str | None = None
    label: str
    suggested_label: str
    label_error_probability: float
    evidence: list[Neighbor]


class LabelIssues(Answer):
    """A page of issues, the most probable error first. calibrated: the probabilities are, else shares of votes."""

    items: list[LabelIssue]
    next_cursor: str | None
    calibrated: bool
    compared: int
    waiting: int


class NearDuplicates:
    """Groups of images that show the same picture, changed or not."""

    def __init__(self, connection: Connection, jobs: Jobs) -> None:
        self._connection, self._jobs = connection, jobs

    def compare(
        self, *, collection: str | None = None, again: bool = False, model_version: UUID | None = None
    ) -> Work | None:
        """Compare the new images, or all of them, with their collection. None: nothing was new.

        model_version: by another version's vectors than the active one's, such as an external one's.
        """
        body = given(collection=collection, again=again, model_version=model_version and str(model_version))
        job_id = self._connection.json("POST", "/v1/duplicates", json=body)["job_id"]
        return self._jobs.work(UUID(job_id)) if job_id else None

    def list(
        self,
        *,
        collection: str | None = None,
        max_distance: float | None = None,
        min_pixel_similarity: float | None = None,
        model_version: UUID | None = None,
    ) -> Iterator[DuplicateGroup]:
        """All groups, the one with the newest image first."""
        filters = {
            "collection": collection,
            "max_distance": max_distance,
            "min_pixel_similarity": min_pixel_similarity,
            "model_version": model_version and str(model_version),
        }
        return self._connection.pages(DuplicateGroup, "/v1/duplicates", **filters)

    def page(
        self,
        *,
        collection: str | None = None,
        max_distance: float | None = None,
        min_pixel_similarity: float | None = None,
        model_version: UUID | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Duplicates:
        """One page of groups, and how many images were compared."""
        filters = given(
            collection=collection,
            max_distance=max_distance,
            min_pixel_similarity=min_pixel_similarity,
            model_version=model_version and str(model_version),
            limit=limit,
            cursor=cursor,
        )
        return Duplicates.decode(self._connection.json("GET", "/v1/duplicates", params=filters))


class LabelErrors:
    """Probably wrong labels, by the nearest neighbors. `duplicates.compare` compares what is new."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self,
        *,
        collection: str | None = None,
        min_probability: float | None = None,
        model_version: UUID | None = None,
    ) -> Iterator[LabelIssue]:
        """All label issues, the most probable error first."""
        version = model_version and str(model_version)
        filters = {"collection": collection, "min_probability": min_probability, "model_version": version}
        return self._connection.pages(LabelIssue, "/v1/label-issues", **filters)

    def page(
        self,
        *,
        collection: str | None = None,
        min_probability: float | None = None,
        model_version: UUID | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> LabelIssues:
        """One page of label issues, and how many images were compared."""
        filters = given(
            collection=collection,
            min_probability=min_probability,
            model_version=model_version and str(model_version),
            limit=limit,
            cursor=cursor,
        )
        return LabelIssues.decode(self._connection.json("GET", "/v1/label-issues", params=filters))

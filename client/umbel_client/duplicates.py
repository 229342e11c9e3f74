"""`umbel.duplicates` and `umbel.label_issues`: what a comparison of all pictures brings to light."""

from collections.abc import Iterator
from uuid import UUID

from umbel_client.answers.duplicates import DuplicateGroup, Duplicates, LabelIssue, LabelIssues
from umbel_client.connection import Connection, given
from umbel_client.jobs import Jobs
from umbel_client.work import Work


class NearDuplicates:
    """Groups of pictures that are one picture, changed."""

    def __init__(self, connection: Connection, jobs: Jobs) -> None:
        self._connection, self._jobs = connection, jobs

    def compare(self, *, collection: str | None = None, again: bool = False) -> Work | None:
        """Have pictures compared with their collection: those that are new, or all. None: nothing was new."""
        body = given(collection=collection, again=again)
        job_id = self._connection.json("POST", "/v1/duplicates", json=body)["job_id"]
        return self._jobs.work(UUID(job_id)) if job_id else None

    def list(
        self,
        *,
        collection: str | None = None,
        max_distance: float | None = None,
        min_pixel_similarity: float | None = None,
    ) -> Iterator[DuplicateGroup]:
        """All groups, the one with the newest picture first."""
        filters = {"collection": collection, "max_distance": max_distance, "min_pixel_similarity": min_pixel_similarity}
        return (DuplicateGroup.decode(row) for row in self._connection.pages("/v1/duplicates", **filters))

    def page(
        self,
        *,
        collection: str | None = None,
        max_distance: float | None = None,
        min_pixel_similarity: float | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Duplicates:
        """One page of groups, and how many pictures they speak for."""
        filters = given(
            collection=collection,
            max_distance=max_distance,
            min_pixel_similarity=min_pixel_similarity,
            limit=limit,
            cursor=cursor,
        )
        return Duplicates.decode(self._connection.json("GET", "/v1/duplicates", params=filters))


class LabelErrors:
    """Labels that the neighbors doubt. `duplicates.compare` compares what is new."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, collection: str | None = None, min_probability: float | None = None) -> Iterator[LabelIssue]:
        """All of them, the most doubted first."""
        rows = self._connection.pages("/v1/label-issues", collection=collection, min_probability=min_probability)
        return (LabelIssue.decode(row) for row in rows)

    def page(
        self,
        *,
        collection: str | None = None,
        min_probability: float | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> LabelIssues:
        """One page of them, and how many pictures it speaks for."""
        filters = given(collection=collection, min_probability=min_probability, limit=limit, cursor=cursor)
        return LabelIssues.decode(self._connection.json("GET", "/v1/label-issues", params=filters))

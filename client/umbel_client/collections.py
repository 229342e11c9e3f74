"""`umbel.collections`: created, listed, described, deleted."""

from collections.abc import Iterator
from urllib.parse import quote
from uuid import UUID

from umbel_client.answers.collections import Collection
from umbel_client.connection import Connection
from umbel_client.jobs import Jobs
from umbel_client.work import Work


class Collections:
    """A collection is deduplicated, searched and deleted on its own. Uploads create the one that they name."""

    def __init__(self, connection: Connection, jobs: Jobs) -> None:
        self._connection, self._jobs = connection, jobs

    def list(self) -> Iterator[Collection]:
        """All collections, by name."""
        return (Collection.decode(row) for row in self._connection.pages("/v1/collections"))

    def get(self, name: str) -> Collection:
        return Collection.decode(self._connection.json("GET", _path_of(name)))

    def create(self, name: str) -> Collection:
        """A new, empty collection; the one that is there if the name is taken."""
        answer = self._connection.json("POST", "/v1/collections", repeatable=True, json={"name": name})
        return Collection.decode(answer)

    def set_quota(self, name: str, **quota: int | None) -> Collection:
        """quota: max_images and max_bytes, either or both; None: no limit."""
        answer = self._connection.json("PATCH", _path_of(name), repeatable=True, json=quota)
        return Collection.decode(answer)

    def delete(self, name: str) -> Work:
        """Delete a collection with all that it has: gone at once, removed by a job."""
        return self._jobs.work(UUID(self._connection.json("DELETE", _path_of(name))["job_id"]))


def _path_of(name: str) -> str:
    return f"/v1/collections/{quote(name, safe='')}"

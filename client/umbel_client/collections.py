"""`umbel.collections`: create, list, describe, limit and delete collections."""

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import quote

from umbel_client.answer import Answer
from umbel_client.connection import Connection
from umbel_client.jobs import Jobs, Work


class Collection(Answer):
    """images: how many it has; max_images, max_bytes: its quota, None: no limit."""

    name: str
    images: int
    max_images: int | None = None
    max_bytes: int | None = None
    created_at: datetime


class Collections:
    """A collection is deduplicated, searched and deleted on its own. Uploads create the one that they name."""

    def __init__(self, connection: Connection, jobs: Jobs) -> None:
        self._connection, self._jobs = connection, jobs

    def list(self) -> Iterator[Collection]:
        """All collections, by name."""
        return self._connection.pages(Collection, "/v1/collections")

    def get(self, name: str) -> Collection:
        return Collection.decode(self._connection.json("GET", _path_of(name)))

    def create(self, name: str) -> Collection:
        """A new, empty collection, or the existing one of that name."""
        answer = self._connection.json("POST", "/v1/collections", repeatable=True, json={"name": name})
        return Collection.decode(answer)

    def set_quota(self, name: str, **quota: int | None) -> Collection:
        """quota: max_images and max_bytes, either or both; None: no limit."""
        answer = self._connection.json("PATCH", _path_of(name), repeatable=True, json=quota)
        return Collection.decode(answer)

    def delete(self, name: str) -> Work:
        """Delete a collection with all its images: it is gone at once, and a job removes the data."""
        return self._jobs.begin("DELETE", _path_of(name))


def _path_of(name: str) -> str:
    return f"/v1/collections/{quote(name, safe='')}"

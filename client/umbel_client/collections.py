"""`umbel.collections`: create, list, describe, limit and delete collections."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

from umbel_client.answer import Answer
from umbel_client.connection import Connection
from umbel_client.jobs import Jobs, Work

CALIBRATION_SECONDS = 120.0


class Tiling(Answer):
    """What tiles take. vectors: of the images that are there; bytes: of these and their index, in the database.

    seconds: until workers have embedded them, as fast as they were; None: not known. job_id: that embeds them.
    """

    vectors: int
    bytes: int
    seconds: float | None
    job_id: UUID | None


class Collection(Answer):
    """images: how many it has; max_images, max_bytes: its quota, None: no limit.

    tiles: parts of each image that are searched beside the whole; tiling: after `set_tiles`, what that takes.
    """

    name: str
    images: int
    max_images: int | None = None
    max_bytes: int | None = None
    tiles: int = 0
    tiling: Tiling | None = None
    created_at: datetime


class CalibrationSummary(Answer):
    """A collection's own calibration. unknown_below: the probability below which an answer is "unknown".

    answered: share of the queries of known kinds that were answered, accuracy: of these answers that were right,
    unknown_refused: of the queries of unknown kinds that were refused; all in [0, 1].
    """

    model_version: UUID
    calibrated_at: datetime
    images: int
    labels: int
    unknown_below: float
    answered: float
    accuracy: float
    unknown_refused: float


class Calibration(CalibrationSummary):
    """vote, distances, quality, fitted: as in a model's card."""

    vote: dict[str, Any]
    distances: dict[str, Any]
    quality: dict[str, Any]
    fitted: dict[str, Any]


class CollectionDetail(Collection):
    """calibration: its own for the active model; None: the model's is used."""

    calibration: CalibrationSummary | None = None


class Collections:
    """A collection is deduplicated, searched and deleted on its own. Uploads create the one that they name."""

    def __init__(self, connection: Connection, jobs: Jobs) -> None:
        self._connection, self._jobs = connection, jobs

    def list(self) -> Iterator[Collection]:
        """All collections, by name."""
        return self._connection.pages(Collection, "/v1/collections")

    def get(self, name: str) -> CollectionDetail:
        """The collection of this name. Raises NotFound."""
        return CollectionDetail.decode(self._connection.json("GET", _path_of(name)))

    def create(self, name: str, *, tiles: int = 0) -> Collection:
        """A new, empty collection, or the existing one of that name as it is. tiles: see `set_tiles`."""
        given = {"name": name} | ({"tiles": tiles} if tiles else {})
        answer = self._connection.json("POST", "/v1/collections", repeatable=True, json=given)
        return Collection.decode(answer)

    def set_quota(self, name: str, **quota: int | None) -> Collection:
        """quota: max_images and max_bytes, either or both; None: no limit."""
        answer = self._connection.json("PATCH", _path_of(name), repeatable=True, json=quota)
        return Collection.decode(answer)

    def set_tiles(self, name: str, tiles: int, *, dry_run: bool = False) -> Collection:
        """Have 4 or 9 parts of each image searched beside the whole, or (0) none any more.

        dry_run: change nothing; the answer's `tiling` tells what it would take. Raises Conflict from 4 to 9 or back.
        """
        given = {"tiles": tiles} | ({"dry_run": True} if dry_run else {})
        answer = self._connection.json("PATCH", _path_of(name), repeatable=True, json=given)
        return Collection.decode(answer)

    def calibrate(self, name: str) -> Calibration:
        """Fit a calibration to the collection's own labels, which `identify` then uses. Takes seconds."""
        answer = self._connection.json("POST", _calibration_of(name), repeatable=True, timeout=CALIBRATION_SECONDS)
        return Calibration.decode(answer)

    def calibration(self, name: str) -> Calibration:
        """The collection's own calibration for the active model. Raises NotFound where it has none."""
        return Calibration.decode(self._connection.json("GET", _calibration_of(name)))

    def remove_calibration(self, name: str) -> None:
        """Let `identify` use the model's calibration again."""
        self._connection.request("DELETE", _calibration_of(name))

    def delete(self, name: str) -> Work:
        """Delete a collection with all its images: it is gone at once, and a job removes the data."""
        return self._jobs.begin("DELETE", _path_of(name))


def _calibration_of(name: str) -> str:
    return f"{_path_of(name)}/calibration"


def _path_of(name: str) -> str:
    return f"/v1/collections/{quote(name, safe='')}"

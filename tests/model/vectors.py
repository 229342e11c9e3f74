"""The vectors that the service has stored, as its view `umbel.embeddings` and its partitions show them; some of them
are computed anew."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from tests.model.mismatch import Mismatch
from tests.model.models import Recomputed

FAR = 0.02  # cosine distance between a stored vector and one computed apart: half precision, another runtime
CHECKED = 1  # of those fetched at once


class Vectors:
    """connect: opens a connection to the database. recomputed: by version."""

    def __init__(self, connect: Callable[[], "psycopg.Connection[Any]"], rng: random.Random) -> None:
        self.recomputed: dict[str, Recomputed] = {}
        self._connect, self._rng = connect, rng
        self._known: dict[str, dict[str, NDArray[np.float32]]] = {}

    def forget(self, version: str) -> None:
        """The version is retired."""
        self._known.pop(version, None)

    def of(self, version: str, images: Sequence[Any]) -> dict[str, NDArray[np.float32]]:
        """{image id: vector (dim,)} of those `images` that have one of this version."""
        known = self._known.setdefault(version, {})
        new = {image.id: image for image in images if image.id not in known}
        if new:
            found = self._fetch(version, list(new))
            known |= found
            for image_id in self._rng.sample(sorted(found), min(CHECKED, len(found))):
                self._check(version, new[image_id], found[image_id])
        return {image.id: known[image.id] for image in images if image.id in known}

    def count_lacking(self, version: str, active: str) -> int:
        """How many images that the active version finds this one lacks."""
        lacking = """
            SELECT count(*) FROM embedding e JOIN collection c ON c.id = e.collection_id AND c.deleted_at IS NULL
            WHERE e.model_version_id = %s AND NOT EXISTS (
                SELECT FROM embedding o WHERE o.image_id = e.image_id AND o.model_version_id = %s)
        """
        with self._connect() as connection:
            row = connection.execute(lacking, [active, version]).fetchone()
        assert row is not None
        return int(row[0])

    def _fetch(self, version: str, ids: list[str]) -> dict[str, NDArray[np.float32]]:
        statement = """
            SELECT image_id::text, vector::real[] FROM embedding
            WHERE model_version_id = %s AND image_id = ANY (%s::uuid[])
        """
        with self._connect() as connection, connection.cursor(binary=True) as cursor:
            return {row[0]: np.asarray(row[1], np.float32) for row in cursor.execute(statement, [version, ids])}

    def _check(self, version: str, image: Any, vector: NDArray[np.float32]) -> None:
        away = 1 - float(vector @ self.recomputed[version].vector(image.data)) / float(np.linalg.norm(vector))
        if not away < FAR:
            raise Mismatch(f"the stored vector of image {image.id} is {away:.4f} from the one computed", image.id)

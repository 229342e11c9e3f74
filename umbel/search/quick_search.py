"""The usual search, one of all the gallery, in one round trip to the database.

`nearest` asks first which version is active and whether there is an index worth using, and then searches. Here
the search goes out on what was true the last time, and its answer says whether it still is. If not, it is thrown away.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pgvector import HalfVector

from umbel.base.database import raw_connection
from umbel.base.types import Vector
from umbel.gallery.collections import DELETED_SQL
from umbel.models.partitions import index_name, partition_name
from umbel.models.versions import VersionKey
from umbel.search import nearest
from umbel.search.nearest import ROW_BYTES, THROUGH_INDEX, Found, Match, Mode, Scope, ef_for, found_in

SETTINGS = f"SELECT set_config('hnsw.ef_search', %s, true), {THROUGH_INDEX}"


@dataclass(frozen=True, slots=True)
class Example:
    """What to search by: a unit vector, or the image that has it, which is then not among the matches."""

    vector: Vector | None = None
    image_id: UUID | None = None


def find_quickly(
    example: Example, *, version: VersionKey, mode: Mode, k: int, max_distance: float | None = None
) -> Found | None:
    """Up to k images of all collections nearest to the example, closest first; ties by image id.

    mode: how the gallery is searched if it is what it was. None where this is not the whole answer: another version is
    active, the gallery is searched otherwise now, nothing was found, or the index gave up before it had k, or the
    example has no vector. Then ask `umbel.search.nearest`. Raises NotReady as `umbel.base.database.transaction` does.
    """
    indexed = mode == "hnsw"
    ef = ef_for(k) if indexed else None
    with raw_connection() as connection, connection.pipeline():
        if indexed:
            connection.execute(SETTINGS, [str(ef)], prepare=True)
        rows = connection.execute(_statement(version, example, indexed), _values(example, k), prepare=True)
        connection.commit()  # the settings end here; a rollback would cost a round trip of its own
        found = rows.fetchall()
    still_so = found and found[0][-1] and (len(found) == k or not indexed)
    if not still_so:
        return None
    # Rounding may take the distance of a vector to itself a hair below zero.
    matches = [Match(image_id, max(0.0, distance), *rest) for image_id, distance, *rest, _ in found]
    return found_in(matches, Scope(max_distance=max_distance), mode, ef_search=ef)


def _statement(version: VersionKey, example: Example, indexed: bool) -> str:
    """The version and its width are literals, and zero is added to the distance of an exact scan: see `nearest`. What
    it rests on is asked in the same snapshot."""
    width, partition, index = f"halfvec({int(version.dim)})", partition_name(version.id), index_name(version.id)
    query, others = f"CAST(%(vector)s AS {width})", ""
    if example.image_id is not None:
        query = f"""(SELECT vector::{width} FROM embedding WHERE model_version_id = '{version.id}'
                     AND image_id = %(image)s AND collection_id <> ALL ({DELETED_SQL}))"""
        others = "AND e.image_id <> %(image)s"
    distance = f"e.vector::{width} <=> {query}"
    order = "2" if indexed else f"({distance}) + 0, e.image_id"
    return f"""
        WITH near AS MATERIALIZED (
            SELECT e.image_id, {distance} AS distance FROM embedding e
            WHERE e.model_version_id = '{version.id}' AND e.collection_id <> ALL ({DELETED_SQL}) {others}
            ORDER BY {order} LIMIT %(k)s
        )
        SELECT near.image_id, near.distance, image.label, image.metadata, collection.name,
        near.distance IS NOT NULL AND (
            SELECT state = 'active' FROM model_version WHERE id = '{version.id}'
        ) AND {"" if indexed else "NOT"} (
            coalesce((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{index}')), false)
            AND pg_relation_size(to_regclass('{partition}')) / {2 * version.dim + ROW_BYTES} > {nearest.EXACT_UP_TO}
        )
        FROM near JOIN image ON image.id = near.image_id JOIN collection ON collection.id = image.collection_id
        ORDER BY near.distance + 0, near.image_id
    """


def _values(example: Example, k: int) -> dict[str, Any]:
    if example.image_id is not None:
        return {"image": example.image_id, "k": k}
    assert example.vector is not None
    return {"vector": HalfVector(example.vector), "k": k}

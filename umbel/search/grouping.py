"""The nearest image of each label, or of each value of a metadata key."""

from typing import Any

from pgvector import HalfVector
from sqlalchemy.orm import Session

from umbel.base.errors import InvalidInput
from umbel.base.types import Vector
from umbel.gallery import collections
from umbel.gallery.facets import By
from umbel.gallery.tiles import find_layouts
from umbel.models.versions import VersionKey
from umbel.search.nearest import Found, Match, Place, Scope, condition_of

# One pass over all that may match: what is nearest of a label may be far from the nearest of all, where no index leads.
# Only a literal version prunes to its partition.
GROUPS = """
WITH passing AS MATERIALIZED (
    SELECT e.image_id, {value} AS value, {distance} AS distance, {tile} AS tile
    FROM {vectors} e JOIN image i ON i.id = e.image_id
    WHERE {within} AND e.image_id <> ALL (%(without)s::uuid[]) AND {has_value}
        AND ({condition})
), nearest AS (
    SELECT value, min(distance) AS distance, count(*) AS size FROM passing
    WHERE %(max_distance)s::float8 IS NULL OR distance <= %(max_distance)s GROUP BY value
), best AS (
    SELECT DISTINCT ON (value) value, image_id, distance, tile, nearest.size
    FROM passing JOIN nearest USING (value, distance) ORDER BY value, image_id
)
SELECT i.id, best.distance, i.label, i.metadata, c.name, i.name, i.external_id, NULL, best.tile, best.value, best.size
FROM best JOIN image i ON i.id = best.image_id JOIN collection c ON c.id = i.collection_id
WHERE %(behind_image)s::uuid IS NULL OR (best.distance, i.id) > (%(behind)s::float8, %(behind_image)s::uuid)
ORDER BY best.distance, i.id LIMIT %(k)s
"""
# Of whole images; and of images with their tiles.
WHOLE = {
    "vectors": "embedding",
    "distance": "greatest(0, e.vector::halfvec({dim}) <=> %(query)s::halfvec({dim}))",
    "tile": "NULL::smallint",
    "within": "e.model_version_id = '{version}' AND {within}",
}
TILED = {
    "vectors": "distances_with_tiles(%(query)s::halfvec, '{version}', %(collection)s::uuid)",
    "distance": "e.distance",
    "tile": "e.tile",
    "within": "TRUE",
}
EVERYWHERE = f"e.collection_id {collections.NOT_DELETED}"
VALUES = {"label": "to_jsonb(i.label)", "metadata": "i.metadata -> %(key)s::text"}
HAS_VALUE = {
    "label": "i.label IS NOT NULL",
    "metadata": "jsonb_typeof(i.metadata -> %(key)s::text) IN ('string', 'number', 'boolean')",
}


def find_groups(
    session: Session,
    query: Vector,
    version: VersionKey,
    by: By,
    *,
    k: int,
    scope: Scope,
    after: Place | None = None,
) -> Found:
    """The nearest image of each of the k groups nearest to `query`, a unit vector of `version`; ties by image id.

    by: label or a metadata key. Images without a value, or with a list or an object, are in no group, nor are those of
    `scope.without`. All that may match are compared. Raises InvalidInput for a vector of another length, NotFound for
    the collection.
    """
    if len(query) != version.dim:
        raise InvalidInput(f"The query has {len(query)} numbers, the model's vectors have {version.dim}.")
    collection_id = collections.id_of(session, scope.collection)
    tiled = scope.tiles and collection_id is not None and bool(find_layouts(session, [collection_id]))
    within = "e.collection_id = %(collection)s" if collection_id else EVERYWHERE
    searched = {
        name: part.format(dim=version.dim, version=version.id, within=within)
        for name, part in (TILED if tiled else WHOLE).items()
    }
    statement = GROUPS.format(
        **searched,
        value=VALUES[by.kind],
        has_value=HAS_VALUE[by.kind],
        condition=(condition_of(scope) or "TRUE").replace("%", "%%"),
    )
    values: dict[str, Any] = {
        "query": HalfVector(query),
        "key": by.key,
        "collection": collection_id,
        "without": list(scope.without),
        "max_distance": scope.max_distance,
        "behind": after and after.distance,
        "behind_image": after and after.image_id,
        "k": k,
    }
    rows = session.connection().exec_driver_sql(statement, values)
    return Found([Match(*row) for row in rows], "exact", version.id)

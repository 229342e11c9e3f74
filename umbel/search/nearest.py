"""Nearest images by cosine distance: exactly where few qualify, through HNSW where many do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from pgvector import HalfVector
from sqlalchemy import BindParameter, bindparam, text
from sqlalchemy.orm import Session

from umbel.base.types import Vector
from umbel.gallery.collections import DELETED_SQL
from umbel.models.partitions import index_name, partition_name
from umbel.models.versions import VersionKey
from umbel.search.filters import Filter, filter_sql

# Up to this many candidates a scan takes some milliseconds, and is exact. Those of a filter lie scattered, which costs
# more for each.
EXACT_UP_TO = 10_000
FILTERED_UP_TO = 2_000
# HNSW looks at as many candidates as `ef_search` says: at least LEAST_EF, and EF_PER_MATCH times k. What passes a
# filter comes from farther and farther away, where a narrow search misses more: so it is wider with one. What recall
# that gives is measured by POST /v1/admin/recall and in benchmarks/search.py.
LEAST_EF, FILTERED_EF, EF_PER_MATCH = 64, 300, 2
LARGEST_EF = 1_000  # pgvector's own limit
# Where a filter lets few through, the index is followed for at most this share of the gallery; then a scan is cheaper.
SCANNED_SHARE = 0.02
LEAST_SCANNED = 2_000

Mode = Literal["exact", "hnsw"]
NO_FILTER = Filter()


@dataclass(frozen=True, slots=True)
class Scope:
    """Which images may match. None: no restriction. without: images that must not match, such as the query itself."""

    collection_id: UUID | None = None
    filter: Filter = NO_FILTER
    max_distance: float | None = None
    without: Sequence[UUID] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """An image and its cosine distance to the query, in [0, 2]."""

    image_id: UUID
    distance: float
    label: str | None
    meta: dict[str, Any]
    collection: str


@dataclass(frozen=True, slots=True)
class Found:
    """Matches, closest first, and how they were found.

    ef_search: candidates that the index kept in sight; None where it was not used. exhausted: the index gave up before
    it had k, and all candidates were scanned instead.
    """

    matches: list[Match]
    mode: Mode
    ef_search: int | None = None
    exhausted: bool = False


def nearest_images(
    session: Session, query: Vector, *, version: VersionKey, k: int, scope: Scope, exact: bool = False
) -> Found:
    """Up to k images nearest to `query` in `scope`, closest first; ties by image id.

    query: (version.dim,) unit vector. HNSW filters after scanning; iterative scan (pgvector ≥ 0.8) goes on until k
    passed the filter, and where it gives up the set is scanned exactly: k matches whenever k images qualify.
    While a load goes on that the index was dropped for, everything is scanned exactly.
    Source: pgvector README, "Iterative Index Scans".
    """
    ef = ef_for(k, least=FILTERED_EF if scope.filter else LEAST_EF)
    few = FILTERED_UP_TO if scope.filter else EXACT_UP_TO
    if exact or not _prepare_index(session, version, scope, ef=ef, few=few):
        return found_in(_scan(session, query, version, scope, k=k, exact=True), scope, "exact")
    matches = _scan(session, query, version, scope, k=k, exact=False)
    if len(matches) < k:
        session.execute(RESET)
        return found_in(_scan(session, query, version, scope, k=k, exact=True), scope, "exact", exhausted=True)
    return found_in(matches, scope, "hnsw", ef_search=ef)


def ef_for(k: int, *, least: int | None = None) -> int:
    """The ef_search with which k images are looked for."""
    return min(LARGEST_EF, max(LEAST_EF if least is None else least, EF_PER_MATCH * k))


def indexed_images(
    session: Session, query: Vector, *, version: VersionKey, k: int, scope: Scope, ef_search: int
) -> list[Match] | None:
    """What the index alone finds, however few qualify: to be measured. None while there is no index."""
    if not _prepare_index(session, version, scope, ef=ef_search, few=-1):
        return None
    return _scan(session, query, version, scope, k=k, exact=False)


def found_in(matches: list[Match], scope: Scope, mode: Mode, **how: Any) -> Found:
    """The matches near enough. Whatever lies within max_distance is among the k nearest, or there are more than k."""
    near = [match for match in matches if scope.max_distance is None or match.distance <= scope.max_distance]
    return Found(near, mode, **how)


# So that the planner walks the index, whatever it thinks of it.
THROUGH_INDEX = """
    set_config('hnsw.iterative_scan', 'relaxed_order', true),
    set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('enable_sort', 'off', true)
"""
# Whether the index is there, and more candidates than are scanned exactly: only then it is used, and set up for this
# transaction. The number of images in the gallery is taken from the partition's size, which costs nothing to ask.
PREPARE = """
SELECT CASE WHEN gallery.images > :few AND gallery.indexed AND {many} THEN ARRAY[
    set_config('hnsw.ef_search', :ef, true),
    set_config('hnsw.max_scan_tuples', greatest(:least_scanned, (gallery.images * :scanned)::int)::text, true),
    {through_index}
] END IS NOT NULL
FROM (
    SELECT pg_relation_size(to_regclass(:partition)) / :row_bytes AS images,
           coalesce((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:index)), false) AS indexed
) gallery
"""
RESET = text("""
    SELECT set_config(name, 'on', true)
    FROM unnest(ARRAY['enable_seqscan', 'enable_bitmapscan', 'enable_hashjoin', 'enable_mergejoin', 'enable_sort']) name
""")
ROW_BYTES = 72  # of an embedding, beside two for each number


def _prepare_index(session: Session, version: VersionKey, scope: Scope, *, ef: int, few: int) -> bool:
    """Set this transaction up to search through the index; False, and nothing is set, where a scan is better.

    few: up to so many candidates are better scanned.
    """
    many, parameters = _many_sql(version, scope)
    statement = text(PREPARE.format(many=many, through_index=THROUGH_INDEX)).bindparams(*parameters)
    values = {
        "few": few,
        "ef": str(ef),
        "scanned": SCANNED_SHARE,
        "least_scanned": LEAST_SCANNED,
        "partition": partition_name(version.id),
        "index": index_name(version.id),
        "row_bytes": 2 * version.dim + ROW_BYTES,
    }
    return bool(session.execute(statement, values).scalar_one())


def _many_sql(version: VersionKey, scope: Scope) -> tuple[str, list[BindParameter[Any]]]:
    """SQL for: more than :few images may match. Counted no further than that, and only where an index counts them."""
    where: list[str] = []
    parameters: list[BindParameter[Any]] = []
    source, owner = ("image i", "i") if scope.filter.indexed else ("embedding e", "e")
    if scope.collection_id is not None:
        where.append(f"{owner}.collection_id = :collection")
        parameters.append(bindparam("collection", scope.collection_id))
    if scope.filter.indexed:
        condition, values = filter_sql(scope.filter)
        where.append(condition)
        parameters += values
    if not where:
        return "TRUE", []
    if not scope.filter.indexed:
        where.append(f"e.model_version_id = '{version.id}'")
    some = f"SELECT FROM {source} WHERE {' AND '.join(where)} LIMIT :few + 1"
    return f"(SELECT count(*) FROM ({some}) candidate) > :few", parameters


def _scan(session: Session, query: Vector, version: VersionKey, scope: Scope, *, k: int, exact: bool) -> list[Match]:
    """One statement. The version and its width are literals: only so does the planner prune to the partition and
    recognise its expression index. Adding zero to the distance keeps the index out of an exact scan; and it has what
    the index found sorted: that comes roughly in order only, while the planner takes it for sorted already."""
    width = f"halfvec({int(version.dim)})"
    distance = f"(e.vector::{width} <=> CAST(:query AS {width}))"
    order = f"{distance} + 0, e.image_id" if exact else distance
    source, where, parameters = _candidates_sql(version, scope)
    statement = text(f"""
        WITH near AS MATERIALIZED (
            SELECT e.image_id, {distance} AS distance FROM {source} WHERE {where} ORDER BY {order} LIMIT :k
        )
        SELECT near.image_id, near.distance, image.label, image.metadata, collection.name
        FROM near JOIN image ON image.id = near.image_id JOIN collection ON collection.id = image.collection_id
        ORDER BY near.distance + 0, near.image_id
    """).bindparams(*parameters)
    rows = session.execute(statement, {"query": HalfVector(query), "k": k})
    # Rounding may take the distance of a vector to itself a hair below zero.
    return [Match(image_id, max(0.0, distance), *rest) for image_id, distance, *rest in rows]


def _candidates_sql(version: VersionKey, scope: Scope) -> tuple[str, str, list[BindParameter[Any]]]:
    """FROM and WHERE of the embeddings in scope."""
    source, where = "embedding e", [f"e.model_version_id = '{version.id}'"]
    parameters: list[BindParameter[Any]] = []
    if scope.collection_id is not None:
        where.append("e.collection_id = :collection")
        parameters.append(bindparam("collection", scope.collection_id))
    else:
        where.append(f"e.collection_id <> ALL ({DELETED_SQL})")
    if scope.without:
        where.append("e.image_id <> ALL (:without)")
        parameters.append(bindparam("without", list(scope.without)))
    if scope.filter:
        condition, values = filter_sql(scope.filter)
        source += " JOIN image i ON i.id = e.image_id"
        where.append(condition)
        parameters += values
    return source, " AND ".join(where), parameters

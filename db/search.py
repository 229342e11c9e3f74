"""Nearest images by cosine distance: exactly where few qualify, through HNSW where many do."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from pgvector import HalfVector
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session
from sqlalchemy.sql.expression import bindparam

from core.types import Vector
from db.models import ModelVersion
from db.partitions import has_index

# Below this many candidates an exact scan takes a few milliseconds, and is exact.
EXACT_BELOW = 2_000
LARGEST_EF_SEARCH = 1_000  # pgvector's own limit

Mode = Literal["exact", "hnsw"]


@dataclass(frozen=True, slots=True)
class Scope:
    """Which images may match. None: no restriction. metadata: each given key must have the given value."""

    collection_id: UUID | None = None
    labels: Sequence[str] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    max_distance: float | None = None
    without: UUID | None = None  # an image that must not match: the query itself


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
    """Matches, closest first, and how they were found."""

    matches: list[Match]
    mode: Mode
    exhausted: bool = False  # the index gave up before k were found, and a scan could not follow


def nearest_images(
    session: Session, query: Vector, *, version: ModelVersion, k: int, scope: Scope, exact: bool = False
) -> Found:
    """Up to k images nearest to `query` in `scope`, closest first; ties by image id.

    query: (version.dim,) unit vector. HNSW filters after scanning; iterative scan (pgvector ≥ 0.8) refills the
    result, and where it still comes back short the set is scanned exactly: k matches whenever k images qualify.
    While a load goes on that the index was dropped for, everything is scanned exactly.
    Source: pgvector README, "Iterative Index Scans".
    """
    if exact or not has_index(session, version.id) or _at_most(session, version, scope, EXACT_BELOW):
        return _found(_scan(session, query, version, scope, k=k, exact=True), scope, "exact")
    session.execute(
        text("""
            SELECT set_config('hnsw.iterative_scan', 'strict_order', true),
                   set_config('hnsw.ef_search', :ef, true),
                   set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
                   set_config('enable_sort', 'off', true)
        """),
        {"ef": str(min(LARGEST_EF_SEARCH, max(100, 2 * k)))},
    )
    matches = _scan(session, query, version, scope, k=k, exact=False)
    if len(matches) < k:
        return _found(_scan(session, query, version, scope, k=k, exact=True), scope, "exact")
    return _found(matches, scope, "hnsw")


def _found(matches: list[Match], scope: Scope, mode: Mode) -> Found:
    """The matches near enough. Whatever lies within max_distance is among the k nearest, or there are more than k."""
    near = [match for match in matches if scope.max_distance is None or match.distance <= scope.max_distance]
    return Found(near, mode)


def _scan(session: Session, query: Vector, version: ModelVersion, scope: Scope, *, k: int, exact: bool) -> list[Match]:
    """One statement. The version and its width are literals: only so does the planner prune to the partition and
    recognise its expression index. Adding zero to the distance keeps the index out of an exact scan."""
    width = f"halfvec({int(version.dim)})"
    distance = f"(e.vector::{width} <=> CAST(:query AS {width}))"
    order = f"{distance} + 0, e.image_id" if exact else distance
    where, parameters = _conditions(version, scope)
    statement = text(f"""
        SELECT near.image_id, near.distance, image.label, image.metadata, collection.name
        FROM (
            SELECT e.image_id, {distance} AS distance FROM embedding e {_image_join(scope)}
            WHERE {where} ORDER BY {order} LIMIT :k
        ) near
        JOIN image ON image.id = near.image_id JOIN collection ON collection.id = image.collection_id
        ORDER BY near.distance, near.image_id
    """)
    values = {**parameters, "query": HalfVector(query).to_text(), "k": k}
    rows = session.execute(_typed(statement, parameters), values)
    # Rounding may take the distance of a vector to itself a hair below zero.
    return [Match(image_id, max(0.0, distance), *rest) for image_id, distance, *rest in rows]


def _at_most(session: Session, version: ModelVersion, scope: Scope, limit: int) -> bool:
    """Whether at most `limit` images qualify, counting no further than that."""
    where, parameters = _conditions(version, scope)
    statement = text(f"""
        SELECT count(*) FROM (
            SELECT FROM embedding e {_image_join(scope)} WHERE {where} LIMIT :beyond
        ) candidates
    """)
    values = {**parameters, "beyond": limit + 1}
    return session.execute(_typed(statement, parameters), values).scalar_one() <= limit


def _image_join(scope: Scope) -> str:
    return "JOIN image i ON i.id = e.image_id" if scope.labels is not None or scope.metadata else ""


def _conditions(version: ModelVersion, scope: Scope) -> tuple[str, dict[str, Any]]:
    conditions = [f"e.model_version_id = '{version.id}'"]
    values: dict[str, Any] = {}
    if scope.collection_id is not None:
        conditions.append("e.collection_id = :collection")
        values["collection"] = scope.collection_id
    if scope.without is not None:
        conditions.append("e.image_id <> :without")
        values["without"] = scope.without
    if scope.labels is not None:
        conditions.append("i.label = ANY (:labels)")
        values["labels"] = list(scope.labels)
    if scope.metadata:
        conditions.append("i.metadata @> :metadata")
        values["metadata"] = scope.metadata
    return " AND ".join(conditions), values


def _typed(statement: Any, parameters: dict[str, Any]) -> Any:
    return statement.bindparams(bindparam("metadata", type_=JSONB)) if "metadata" in parameters else statement

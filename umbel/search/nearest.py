"""Nearest images by cosine distance; `search_images` in the schema (migrations/) decides how they are found.

`search_tiles`, there too, asks it, and adds the tiles of images where their collection has some.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from uuid import UUID

from pgvector import HalfVector
from psycopg.sql import SQL
from sqlalchemy.orm import Session

from umbel.base.replicas import read_prepared
from umbel.base.types import Box, Vector
from umbel.gallery.filter_sql import filter_literal, is_indexed
from umbel.gallery.filters import EVERYTHING, Filter
from umbel.gallery.tiles import BOXES

Mode = Literal["exact", "hnsw"]


class Version(Protocol):
    """A model version, as far as a search needs it."""

    @property
    def id(self) -> UUID: ...


@dataclass(frozen=True, slots=True)
class Scope:
    """Which images may match. None: no restriction. without: images that must not match, such as the query itself.

    among: only these. tiles: within a collection that has tiles, an image is as near as the nearest of its own vector
    and theirs.
    """

    collection: str | None = None
    filter: Filter = EVERYTHING
    max_distance: float | None = None
    without: Sequence[UUID] = ()
    among: Sequence[UUID] | None = None
    tiles: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ends in the order of a search, by distance and id. passed: how many images it is behind."""

    distance: float
    image_id: UUID
    passed: int


@dataclass(frozen=True, slots=True)
class Match:
    """An image and its cosine distance to the query, in [0, 2]. vector: its embedding, where it was asked for.

    tile: the number of the tile that is nearer than the whole; None: none is.
    Where it stands for a group: group_size, how many images of the group match; group_value, what they have in common.
    """

    image_id: UUID
    distance: float
    label: str | None
    meta: dict[str, Any]
    collection: str
    name: str | None
    external_id: str | None
    vector: list[float] | None = None
    tile: int | None = None
    group_value: Any = None
    group_size: int | None = None

    @property
    def box(self) -> Box | None:
        """The part of the image that matched better than the whole."""
        return BOXES[self.tile] if self.tile else None

    @property
    def order(self) -> tuple[float, UUID]:
        """What matches are ordered by."""
        return self.distance, self.image_id


@dataclass(frozen=True, slots=True)
class Found:
    """Matches, closest first, and how they were found.

    mode: None where the image to search by has no vector. ef_search: candidates that the index kept in sight; None
    where it was not used. exhausted: the index gave up before it had k, and all candidates were scanned instead.
    lag_seconds: changes that the replica may lack that answered; None where the primary did.
    """

    matches: list[Match]
    mode: Mode | None
    version_id: UUID
    ef_search: int | None = None
    exhausted: bool = False
    lag_seconds: float | None = None


# Search the gallery, in one round trip.
SEARCH = """
SELECT m.image_id, m.distance, m.label, m.metadata, m.collection, i.name, i.external_id, {vector}, {tile}, m.mode,
       m.model_version, m.ef_search, m.exhausted
FROM {function}({arguments}) WITH ORDINALITY m LEFT JOIN image i ON i.id = m.image_id {embedding}
ORDER BY m.ordinality
"""
# Where tiles may match, and where not.
TILED = {"function": "search_tiles", "tile": "m.tile"}
WHOLE = {"function": "search_images", "tile": "NULL::smallint"}
# The vectors of the matches, looked up in the partition of their version.
WITHOUT_VECTORS = {"vector": "NULL::real[]", "embedding": ""}
WITH_VECTORS = {
    "vector": "e.vector::real[]",
    "embedding": "LEFT JOIN embedding e ON e.image_id = m.image_id AND e.model_version_id = m.model_version",
}
ARGUMENTS = {
    "query": "halfvec", "example": "uuid", "k": "integer", "collection_name": "text", "besides": "uuid[]",
    "condition": "text", "countable": "boolean", "exact": "boolean", "version": "uuid", "only_ef": "integer",
    "behind_distance": "double precision", "behind_image": "uuid", "passed": "integer",
}  # fmt: skip
# The ef_search with which k images are looked for.
EF_SEARCH = "SELECT ef_search_for(%(k)s::integer, %(restricted)s, hnsw_kind) FROM model_version WHERE id = %(version)s"


def nearest_images(
    session: Session | None,
    query: Vector | None,
    *,
    k: int,
    scope: Scope,
    version: Version | None = None,
    example: UUID | None = None,
    exact: bool = False,
    only_ef: int | None = None,
    with_vectors: bool = False,
    after: Place | None = None,
) -> Found:
    """Up to k images nearest to `query` in `scope`, closest first; ties by image id.

    session: None for a statement by itself, in one round trip. query: unit vector of `version` (None: the active one);
    or unset, and the vector of the image `example`, which is left out. only_ef: what the index alone finds with this
    ef_search, for measurements; the mode is exact where there is no index. with_vectors: the matches have theirs.
    after: only images behind this place, in the order by distance and id.
    """
    values = {
        "query": None if query is None else HalfVector(query),
        "example": example,
        "k": k,
        "collection_name": scope.collection,
        "besides": list(scope.without) or None,
        "condition": condition_of(scope),
        "countable": scope.among is not None or is_indexed(scope.filter) if scope.filter else None,
        "exact": exact or None,
        "version": version.id if version else None,
        "only_ef": only_ef,
        "behind_distance": after and after.distance,
        "behind_image": after and after.image_id,
        "passed": after and after.passed,
    }
    given = {name: value for name, value in values.items() if value is not None}  # each takes its microseconds
    named = ", ".join(f"{name} => %({name})s::{ARGUMENTS[name]}" for name in given)
    vectors = WITH_VECTORS if with_vectors else WITHOUT_VECTORS
    tiled = TILED if scope.tiles and scope.collection is not None and only_ef is None else WHOLE
    statement = SEARCH.format(arguments=named, **vectors, **tiled)
    rows: Sequence[Sequence[Any]]
    lag: float | None = None
    if session is None:
        rows, lag = read_prepared(statement, given, complete=_has_example)
    else:
        rows = _rows(session, statement, given)
    matches = [Match(*row[:9]) for row in rows if row[0] is not None]
    # Whatever lies within max_distance is among the k nearest, or there are more than k.
    near = [each for each in matches if scope.max_distance is None or each.distance <= scope.max_distance]
    mode, version_id, ef_search, exhausted = rows[0][9:]
    return Found(near, mode, version_id, ef_search, exhausted, lag)


def condition_of(scope: Scope) -> str | None:
    """The filter of a scope, and the images it is limited to, as SQL over the image `i`; None where it has neither."""
    parts = [filter_literal(scope.filter)] if scope.filter else []
    if scope.among is not None:
        parts.append(SQL("i.id = ANY ({}::uuid[])").format(list(scope.among)).as_string())
    return " AND ".join(f"({part})" for part in parts) or None


def ef_search_for(session: Session, version: Version, k: int, *, restricted: bool = False) -> int:
    """The ef_search with which k images are looked for, in the whole gallery or (restricted) in a collection."""
    return int(_rows(session, EF_SEARCH, {"k": k, "restricted": restricted, "version": version.id})[0][0])


def _has_example(rows: Sequence[Sequence[Any]]) -> bool:
    """Whether the image to search by had a vector."""
    return rows[0][9] is not None


def _rows(session: Session, statement: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    return session.connection().exec_driver_sql(statement, dict(values)).all()

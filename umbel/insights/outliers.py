"""Outliers: the images that are least like anything else of their collection.

Source: Ramaswamy, Rastogi, Shim, "Efficient Algorithms for Mining Outliers from Large Data Sets", SIGMOD 2000.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, REAL, Uuid, cast, func, literal, literal_column, select, true, tuple_
from sqlalchemy.orm import Session, aliased

from umbel.base.tables import Collection, Image
from umbel.gallery import collections
from umbel.gallery.filter_sql import I
from umbel.gallery.filters import Filter
from umbel.gallery.passing import passing
from umbel.insights import nearest_neighbors
from umbel.insights.nearest_neighbors import Progress
from umbel.insights.neighbor_graph import N
from umbel.models import versions

# To the farthest of the neighbors that are kept: of nearer ones, foreign images that are alike would hide each other
# (benchmarks/curation.py). As the index `nearest_neighbors_by_outlier` has it.
DISTANCE = literal_column("n.distances[cardinality(n.distances)]", REAL)
# From how many times the usual distance on it is said in these words.
WORDS = ((3.0, "like nothing else here"), (2.0, "very unlike the rest"), (1.5, "unlike the rest"), (0.0, "as usual"))


@dataclass(frozen=True, slots=True)
class Outlier:
    """An image; its cosine distance to the farthest of its 16 nearest; the median of these in its collection."""

    id: UUID
    collection: str
    name: str | None
    external_id: str | None
    label: str | None
    distance: float
    usual: float
    compared_at: datetime

    @property
    def times_usual(self) -> float | None:
        """How far it is from its nearest, as a multiple of what is usual; None where copies make that 0."""
        return self.distance / self.usual if self.usual > 0 else None

    @property
    def assessment(self) -> str:
        """The same in words."""
        times = self.times_usual
        if times is None:
            return "unlike the rest, which are copies" if self.distance > 0 else WORDS[-1][1]
        return next(words for least, words in WORDS if times >= least)


@dataclass(frozen=True, slots=True)
class Found:
    """Images, the least like others first, and how much of the collection they speak for."""

    outliers: list[Outlier]
    version_id: UUID
    progress: Progress


def find_outliers(
    session: Session,
    asked: Filter,
    *,
    collection: str | None,
    after: tuple[float, UUID] | None,
    limit: int,
    version_id: UUID | None = None,
) -> Found:
    """Up to `limit` images that pass the filter, after the one with this distance and id. Raises NotFound, NotReady.

    version_id: by whose vectors; None: the active version's.
    """
    version = versions.get_version_to_use(session, version_id)
    collection_id = collections.id_of(session, collection)
    # Of each collection its first, in the order of the index, and these merged.
    scope = func.unnest(cast(collections.list_ids(session, collection_id), ARRAY(Uuid))).table_valued("id")
    scope = scope.render_derived("scope")
    conditions = [N.model_version_id == version.id, N.collection_id == scope.c.id, DISTANCE.is_not(None)]
    if after is not None:
        conditions.append(tuple_(DISTANCE, N.image_id) < tuple_(cast(literal(after[0]), REAL), literal(after[1], Uuid)))
    first = (
        select(N.image_id, N.collection_id, DISTANCE.label("distance"), N.compared_at)
        .join(I, I.id == N.image_id)
        .where(*conditions, *passing(session, asked, collection=collection))
        .order_by(DISTANCE.desc(), N.image_id.desc())
        .limit(limit)
        .correlate(scope)
        .lateral("page")
    )
    shown = aliased(Image, name="shown")
    rows = session.execute(
        select(shown.id, Collection.name, shown.name, shown.external_id, shown.label, first.c.distance,
               first.c.collection_id, first.c.compared_at)
        .select_from(scope.join(first, true()))
        .join(shown, shown.id == first.c.image_id)
        .join(Collection, Collection.id == first.c.collection_id)
        .order_by(first.c.distance.desc(), first.c.image_id.desc())
        .limit(limit)
    ).all()  # fmt: skip
    usual = _usual_distances(session, version.id, list({row.collection_id for row in rows}))
    found = [
        Outlier(id_, place, name, external_id, label, distance, usual[of], at)
        for id_, place, name, external_id, label, distance, of, at in rows
    ]
    return Found(found, version.id, nearest_neighbors.count_compared(session, version.id, collection_id))


def _usual_distances(session: Session, version_id: UUID, collection_ids: Sequence[UUID]) -> dict[UUID, float]:
    """The median distance in each of these collections."""
    rows = session.execute(
        select(N.collection_id, func.percentile_cont(0.5).within_group(DISTANCE))
        .where(N.model_version_id == version_id, N.collection_id.in_(collection_ids))
        .group_by(N.collection_id)
    )
    return {row[0]: row[1] for row in rows}

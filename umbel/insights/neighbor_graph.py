"""The stored nearest neighbors of many images at once, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
from sqlalchemy import Text, cast, func, select
from sqlalchemy.orm import Session, aliased

from umbel.base.tables import NearestNeighbors
from umbel.gallery.filter_sql import I
from umbel.gallery.filters import Filter
from umbel.gallery.passing import passing
from umbel.insights.coverage import Positions, Shares

MOST = 100_000  # images; of more, so many chosen by chance
N = aliased(NearestNeighbors, name="n")
# An array as Postgres sends it: a header, then its elements, each behind its length.
HEADER = 20
UUIDS = np.dtype([("length", ">i4"), ("value", "S16")])
REALS = np.dtype([("length", ">i4"), ("value", ">f4")])


@dataclass(frozen=True, slots=True, eq=False)
class NeighborGraph:
    """n images by id, with their neighbors among these n, nearest first.

    labels: None without one. neighbors: (n, k) positions, -1 for an image that is not one of the n; distances: (n, k),
    cosine.
    """

    ids: list[UUID]
    labels: list[str | None]
    neighbors: Positions
    distances: Shares


def read_graph(
    session: Session, version_id: UUID, asked: Filter, *, collection: str | None, compared: int
) -> NeighborGraph:
    """The compared images of a collection (None: of all) that pass the filter, at most MOST.

    compared: how many images were compared there. Only where they are more than MOST are they put in an order of
    chance, the same each time: to sort them takes longer than to read them.
    """
    # In the form in which Postgres sends them: to make a UUID of each neighbor takes longer than all the rest.
    columns = (func.uuid_send(I.id), I.label, func.array_send(N.neighbors), func.array_send(N.distances))
    rows = session.execute(
        select(*columns)
        .select_from(I)
        .join(N, N.image_id == I.id)
        .where(N.model_version_id == version_id, *passing(session, asked, collection=collection))
        .order_by(*([func.hashtext(cast(I.id, Text))] if compared > MOST else []))
        .limit(MOST)
    )
    return graph_of(sorted(map(tuple, rows), key=lambda row: row[0]))


def graph_of(rows: Sequence[tuple[Any, ...]]) -> NeighborGraph:
    """rows: id, label, neighbors and distances of each image, by id, all but the label as Postgres sends them."""
    ids = np.array([row[0] for row in rows], "S16")
    sizes = np.array([(len(row[3]) - HEADER) // REALS.itemsize if len(row[3]) > HEADER else 0 for row in rows], np.intp)
    others = np.frombuffer(b"".join(row[2][HEADER:] for row in rows), UUIDS)["value"]
    apart = np.frombuffer(b"".join(row[3][HEADER:] for row in rows), REALS)["value"]
    at = np.searchsorted(ids, others)
    at[at == len(ids)] = 0
    known = ids[at] == others if len(ids) else np.zeros(0, bool)
    there = np.arange(sizes.max(initial=0)) < sizes[:, None]
    neighbors = np.full(there.shape, -1, np.intp)
    distances = np.full(there.shape, np.inf, np.float32)
    neighbors[there] = np.where(known, at, -1)
    distances[there] = apart
    return NeighborGraph([UUID(bytes=row[0]) for row in rows], [row[1] for row in rows], neighbors, distances)


def codes_of(labels: Sequence[str | None]) -> tuple[list[str], npt.NDArray[np.intp]]:
    """The labels that there are, and (n,) which of them each image has, -1 for none."""
    names = sorted({label for label in labels if label is not None})
    place: dict[str | None, int] = {name: at for at, name in enumerate(names)}
    return names, np.array([place.get(label, -1) for label in labels], np.intp)

"""Which images to look at first: the few that stand for a collection, and those that are most worth a label."""

from dataclasses import dataclass
from uuid import UUID

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from umbel.base.tables import Collection
from umbel.gallery import collections
from umbel.gallery.filter_sql import I
from umbel.gallery.filters import Filter
from umbel.insights import nearest_neighbors
from umbel.insights.coverage import Chosen, Positions, Shares, choose, similarities_of
from umbel.insights.nearest_neighbors import Progress
from umbel.insights.neighbor_graph import NeighborGraph, codes_of, read_graph
from umbel.models import versions
from umbel.search.vote import TEMPERATURE


@dataclass(frozen=True, slots=True)
class Representative:
    """An image, and how many it stands for: itself, and those that are more similar to it than to the others."""

    image_id: UUID
    collection: str
    name: str | None
    external_id: str | None
    label: str | None
    stands_for: int


@dataclass(frozen=True, slots=True)
class Representatives:
    """images: the first few are the best choice of so few. coverage: mean similarity of all `considered` images to the
    one that stands for it, 0 to 1."""

    images: list[Representative]
    coverage: float
    considered: int
    version_id: UUID
    progress: Progress


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An image to label. suggested_label: of its labelled neighbors, with their confidence, 0 to 1; None without any.

    stands_for: how many images without a label its label would speak for, itself included.
    """

    image: Representative
    suggested_label: str | None
    confidence: float


@dataclass(frozen=True, slots=True)
class Suggestions:
    """images: the one most worth a label first; labelled, unlabelled: of the images considered."""

    images: list[Suggestion]
    labelled: int
    unlabelled: int
    version_id: UUID
    progress: Progress


def find_representatives(
    session: Session, asked: Filter, *, collection: str | None, limit: int, version_id: UUID | None = None
) -> Representatives:
    """The `limit` images that together stand best for those that pass the filter. Raises NotFound, NotReady.

    version_id: by whose vectors; None: the active version's.
    """
    version, graph, progress = _read(session, asked, collection, version_id)
    chosen = representatives_of(graph, limit)
    images = list(_described(session, graph, chosen).values())
    coverage = float(chosen.covered.mean()) if graph.ids else 0.0
    return Representatives(images, coverage, len(graph.ids), version, progress)


def find_worth_labelling(
    session: Session, asked: Filter, *, collection: str | None, limit: int, version_id: UUID | None = None
) -> Suggestions:
    """The `limit` images without a label whose labels would tell most, by the labels as they are now.

    Arguments and errors as of `find_representatives`.
    """
    version, graph, progress = _read(session, asked, collection, version_id)
    names, labels = codes_of(graph.labels)
    likely, confidence = likely_labels(labels, graph.neighbors, graph.distances)
    chosen = worth_labelling(graph, limit, labels=labels, confidence=confidence)
    suggestions = [
        Suggestion(image, names[likely[at]] if likely[at] >= 0 else None, round(float(confidence[at]), 4))
        for at, image in _described(session, graph, chosen).items()
    ]
    labelled = int((labels >= 0).sum())
    return Suggestions(suggestions, labelled, len(labels) - labelled, version, progress)


def representatives_of(graph: NeighborGraph, count: int) -> Chosen:
    """The `count` images that cover all best."""
    size = len(graph.ids)
    similar = similarities_of(graph.neighbors, graph.distances)
    nothing = np.zeros(size, np.float32)
    return choose(similar, count, weights=nothing + 1, covered=nothing, candidates=np.ones(size, bool))


def worth_labelling(graph: NeighborGraph, count: int, *, labels: Positions, confidence: Shares) -> Chosen:
    """The `count` images without a label that best cover those whose label is not clear yet.

    The labelled ones cover already what is similar to them, and an image counts more, up to twice, the less its
    neighbors settle its label. So the first labels go to what is typical, later ones to what is new or disputed, and of
    a group of similar images one is asked for.

    labels: (n,), -1 for none; confidence: (n,), as of `likely_labels`.
    """
    similar = similarities_of(graph.neighbors, graph.distances)
    unlabelled = labels < 0
    by_labelled = np.where(unlabelled[similar.others], 0, similar.values)
    covered = np.maximum.reduceat(by_labelled, similar.starts[:-1]) if len(labels) else np.zeros(0, np.float32)
    weights = np.where(unlabelled, 1 - confidence / 2, 0).astype(np.float32)
    return choose(similar, count, weights=weights, covered=covered, candidates=unlabelled)


def likely_labels(labels: Positions, neighbors: Positions, distances: Shares) -> tuple[Positions, Shares]:
    """Of each image the label that its labelled neighbors favor, -1 without one, and their confidence in [0, 1].

    labels: (n,), -1 for none. The confidence is the label's share of the votes, which fall off behind the nearest as in
    `umbel.search.vote.tally`, times the similarity of the nearest: neighbors that agree from afar say little.
    """
    size, width = neighbors.shape
    if not width:
        return np.full(size, -1, np.intp), np.zeros(size, np.float32)
    voted = np.where(neighbors >= 0, labels[neighbors], -1)
    apart = np.where(voted >= 0, distances, np.inf)
    nearest = apart.min(1)
    votes = np.exp(-(apart - np.where(np.isfinite(nearest), nearest, 0)[:, None]) / TEMPERATURE)
    for_same = np.stack([np.where(voted == voted[:, [at]], votes, 0).sum(1) for at in range(width)], 1)
    best = np.where(voted >= 0, for_same, -1).argmax(1)
    rows = np.arange(size)
    share = for_same[rows, best] / np.maximum(votes.sum(1), np.finfo(np.float32).tiny)
    confidence = np.where(np.isfinite(nearest), share * (1 - nearest).clip(0, 1), 0)
    return voted[rows, best], confidence.astype(np.float32)


def _read(
    session: Session, asked: Filter, collection: str | None, version_id: UUID | None
) -> tuple[UUID, NeighborGraph, Progress]:
    version = versions.get_version_to_use(session, version_id).id
    collection_id = collections.id_of(session, collection)
    progress = nearest_neighbors.count_compared(session, version, collection_id)
    graph = read_graph(session, version, asked, collection=collection, compared=progress.compared)
    return version, graph, progress


def _described(session: Session, graph: NeighborGraph, chosen: Chosen) -> dict[int, Representative]:
    """What is known of the chosen ones, by position; one that has just been deleted is left out."""
    rows = session.execute(
        select(I.id, Collection.name, I.name, I.external_id, I.label)
        .join(Collection, Collection.id == I.collection_id)
        .where(I.id.in_([graph.ids[at] for at in chosen.images]))
    )
    known = {row[0]: row for row in rows}
    pairs = zip(chosen.images, chosen.stands_for, strict=True)
    return {at: Representative(*known[graph.ids[at]], count) for at, count in pairs if graph.ids[at] in known}

"""The choice of images that cover all: what a plain greedy choice comes to, and what it means for groups."""

from uuid import UUID

import numpy as np
import pytest

from umbel.insights.coverage import Similarities, choose, similarities_of
from umbel.insights.neighbor_graph import NeighborGraph, codes_of, graph_of
from umbel.insights.representatives import likely_labels, representatives_of, worth_labelling


def graph(points: list[float], labels: list[str | None], k: int = 16) -> NeighborGraph:
    """Images on a line, whose distance is that of their points."""
    distances = np.abs(np.subtract.outer(points, points)).astype(np.float32)
    np.fill_diagonal(distances, np.inf)
    neighbors = np.argsort(distances, 1, kind="stable")[:, : min(k, len(points) - 1)]
    nearest = np.take_along_axis(distances, neighbors, 1)
    return NeighborGraph([UUID(int=at) for at in range(len(points))], labels, neighbors, nearest)


def naive(similar: Similarities, count: int, weights: np.ndarray, covered: np.ndarray, free: np.ndarray) -> list[int]:
    covered, chosen = covered.copy(), list[int]()
    matrix = np.zeros((len(similar), len(similar)), np.float32)
    for image in range(len(similar)):
        others, values = similar.of(image)
        matrix[image, others] = values
    while len(chosen) < count:
        gains = (weights * (matrix - covered).clip(0)).sum(1)
        gains[~free] = -1
        chosen.append(int(gains.argmax()))
        covered = np.maximum(covered, matrix[chosen[-1]])
    return chosen


def suggested(among: NeighborGraph, count: int) -> list[int]:
    _, labels = codes_of(among.labels)
    _, confidence = likely_labels(labels, among.neighbors, among.distances)
    return worth_labelling(among, count, labels=labels, confidence=confidence).images


@pytest.mark.parametrize("seed", range(8))
def test_the_lazy_choice_is_the_greedy_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    plain = graph(random.normal(size=40).tolist(), [None] * 40, k=5)
    similar = similarities_of(plain.neighbors, plain.distances)
    weights, covered = random.random((2, 40)).astype(np.float32)
    free = random.random(40) < 0.7
    chosen = choose(similar, 10, weights=weights, covered=covered / 2, candidates=free)
    assert chosen.images == naive(similar, 10, weights, covered / 2, free)


def test_groups_are_stood_for_by_their_size_and_a_loner_by_itself() -> None:
    points = [*np.linspace(0, 0.1, 8), *np.linspace(5, 5.1, 4), 50.0]
    chosen = representatives_of(graph(points, [None] * 13), 3)
    assert ([0 <= chosen.images[0] < 8, 8 <= chosen.images[1] < 12, chosen.images[2] == 12]) == [True] * 3
    assert chosen.stands_for == [8, 4, 1]
    assert len(representatives_of(graph(points, [None] * 13), 100).images) == 13


def test_what_labelled_images_cover_is_not_asked_for() -> None:
    points = [*np.linspace(0, 0.1, 8), *np.linspace(5, 5.1, 4)]
    labels = ["rose", *[None] * 11]
    assert suggested(graph(points, labels), 1)[0] >= 8, "not of the larger group, which has a label"
    assert suggested(graph(points, ["rose"] * 12), 3) == []


def test_neighbors_that_disagree_or_are_far_are_no_confidence() -> None:
    points = [0.0, 0.01, 0.02, 0.5, 0.51, 0.52, 0.9]
    among = graph(points, ["rose", None, "tulip", "rose", None, "rose", None], k=2)
    _, confidence = likely_labels(np.array([0, -1, 1, 0, -1, 0, -1]), among.neighbors, among.distances)
    assert confidence[4] > 0.9
    assert confidence[1] == pytest.approx(0.5, abs=0.02)
    assert confidence[6] < confidence[4]


def test_neighbors_come_as_postgres_sends_them() -> None:
    header = b"\0" * 20
    ids = [UUID(int=at << 8).bytes for at in (1, 2, 3)]  # the last byte 0, which numpy leaves out

    def row(own: bytes, others: list[bytes], distances: list[float]) -> tuple[bytes, None, bytes, bytes]:
        uuids = header + b"".join(b"\0\0\0\x10" + other for other in others)
        reals = header + b"".join(b"\0\0\0\x04" + np.array(one, ">f4").tobytes() for one in distances)
        return own, None, uuids, reals

    rows = [
        row(ids[0], [ids[2], UUID(int=9).bytes], [0.25, 0.5]),
        row(ids[1], [], []),
        row(ids[2], [ids[0]], [0.25]),
    ]
    found = graph_of(rows)
    assert found.ids == [UUID(bytes=one) for one in ids]
    assert found.neighbors.tolist() == [[2, -1], [-1, -1], [0, -1]]
    assert found.distances[0].tolist() == [0.25, 0.5]
    assert graph_of([]).neighbors.shape == (0, 0)
    assert len(similarities_of(graph_of([]).neighbors, graph_of([]).distances)) == 0

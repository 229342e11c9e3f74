"""A gallery in the plane: who is similar is near, also those that were placed among others."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ml import projection
from ml.projection import project
from umbel.base.types import Vectors


def clusters(many: int, each: int, *, dim: int = 64, seed: int = 0) -> tuple[Vectors, NDArray[np.intp]]:
    """Unit vectors around `many` directions, in random order, and which each belongs to."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(many), each))
    vectors = random.normal(size=(many, dim))[labels] + 0.35 * random.normal(size=(len(labels), dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def share_of_own(points: NDArray[np.float32], labels: NDArray[np.intp], of: slice = slice(None)) -> float:
    """How many have one of their own cluster as the nearest on the map."""
    ways = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(ways, np.inf)
    return float((labels[ways.argmin(1)] == labels)[of].mean())


def test_pictures_of_a_kind_lie_together_within_the_frame() -> None:
    vectors, labels = clusters(6, 30)
    points = project(vectors)
    assert points.shape == (180, 2)
    assert points.dtype == np.float32
    assert points.min() >= 0
    assert points.max() <= 1
    assert share_of_own(points, labels) > 0.98


def test_those_beyond_the_fitted_are_placed_among_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "FITTED", 120)
    vectors, labels = clusters(6, 30)
    assert share_of_own(project(vectors), labels, slice(120, None)) > 0.95


@pytest.mark.parametrize("many", [0, 1, 2, 9, 12])
def test_few_pictures_make_a_map_too(many: int) -> None:
    vectors, _ = clusters(max(many, 1), 1)
    points = project(vectors[:many])
    assert points.shape == (many, 2)
    assert np.isfinite(points).all()


def test_pictures_that_are_all_alike_lie_in_the_middle() -> None:
    assert (project(np.tile(clusters(1, 1)[0], (20, 1))) == 0.5).all()

"""The neck's statistics: where it starts, and how it is whitened."""

import copy

import pytest
import torch
from torch.nn import functional as F

from ml.neck import Projection, initialize, within_class_whitening

FEATURES, DIM = 40, 12


def cosines(vectors: torch.Tensor) -> torch.Tensor:
    return F.normalize(vectors) @ F.normalize(vectors).T


@pytest.fixture
def pooled() -> torch.Tensor:
    """200 feature vectors of rank DIM, far from the origin."""
    draw = torch.Generator().manual_seed(2)
    return torch.randn(200, DIM, generator=draw) @ torch.randn(DIM, FEATURES, generator=draw) + 3


@pytest.fixture
def neck(pooled) -> Projection:
    neck = Projection(FEATURES, DIM).eval()
    initialize(neck, pooled, whitening=0.5)
    return neck


def test_without_whitening_the_cosines_of_the_centered_features_are_kept(pooled):
    neck = Projection(FEATURES, DIM).eval()

    initialize(neck, pooled, whitening=0)

    torch.testing.assert_close(cosines(neck(pooled)), cosines(pooled - pooled.mean(0)), atol=1e-3, rtol=0)


def test_with_full_whitening_every_direction_has_the_same_spread(pooled):
    neck = Projection(FEATURES, DIM).eval()

    initialize(neck, pooled, whitening=1)

    spread = neck(pooled).std(0)
    torch.testing.assert_close(spread / spread.mean(), torch.ones(DIM), atol=1e-2, rtol=0)


def test_fewer_pictures_than_dimensions_leave_directions_empty():
    neck = Projection(FEATURES, DIM).eval()

    initialize(neck, torch.randn(5, FEATURES))

    assert neck(torch.randn(3, FEATURES)).isfinite().all()


def test_whitening_by_nothing_only_centers(neck, pooled):
    whitened = copy.deepcopy(neck)

    within_class_whitening(whitened, pooled, torch.arange(200) % 4, strength=0)

    expected = neck(pooled) - neck(pooled).mean(0)
    torch.testing.assert_close(cosines(whitened(pooled)), cosines(expected), atol=1e-4, rtol=0)


def test_whitening_fully_gives_every_direction_the_same_spread_within_a_class(neck, pooled):
    labels = torch.arange(200) % 4
    within_class_whitening(neck, pooled, labels, strength=1, shrinkage=0)

    covariance = sum(torch.cov(neck(pooled)[labels == label].T, correction=0) for label in range(4)) / 4

    torch.testing.assert_close(covariance / covariance.diagonal().mean(), torch.eye(DIM), atol=1e-3, rtol=0)


def test_whitening_survives_folding(neck, pooled):
    within_class_whitening(neck, pooled, torch.arange(200) % 4)
    before = neck(pooled)

    neck.fold()

    torch.testing.assert_close(neck(pooled), before, atol=1e-4, rtol=1e-4)

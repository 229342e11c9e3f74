"""RandAugment: repeatable, mild, and of the same size."""

import numpy as np
import pytest

from ml.training.rand_augment import OPERATIONS, rand_augment
from tests.unit.ml.conftest import draw


def test_the_same_generator_gives_the_same_picture():
    one, other = (rand_augment(draw(1, 1), 3, 0.8, np.random.default_rng(5)) for _ in range(2))

    assert one.tobytes() == other.tobytes()


def test_no_operation_or_no_magnitude_changes_nothing_much():
    picture = draw(1, 1)

    assert rand_augment(picture, 0, 1.0, np.random.default_rng(0)).tobytes() == picture.tobytes()
    still = np.asarray(rand_augment(picture, 1, 0.0, np.random.default_rng(3)), dtype=int)
    assert np.abs(still - np.asarray(picture, dtype=int)).mean() < 3


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("strength", [-1.0, -0.3, 0.0, 0.3, 1.0])
def test_every_operation_keeps_size_and_most_of_the_colour(operation, strength):
    picture = draw(1, 2)

    distorted = operation(picture, strength)

    assert (distorted.size, distorted.mode) == (picture.size, "RGB")
    colours = [np.asarray(one, dtype=float).mean((0, 1)) for one in (picture, distorted)]
    assert np.abs(colours[0] - colours[1]).max() < 64

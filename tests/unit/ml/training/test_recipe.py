"""The stages of a recipe."""

import pytest

from ml.training.recipe import progressive


@pytest.mark.parametrize("epochs", range(1, 13))
def test_progressive_stages_add_up_and_grow_towards_the_size(epochs):
    stages = progressive(192, epochs)

    assert sum(count for _, count in stages) == epochs
    assert 96 <= stages[0][0] <= stages[-1][0] <= 192
    assert [size for size, _ in stages] == sorted(size for size, _ in stages)

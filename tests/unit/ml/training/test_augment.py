"""Random views: right in shape, repeatable, and only as different as asked for."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.training.augment import recolour, vary
from ml.training.recipe import Recipe, progressive
from tests.unit.ml.conftest import draw

PLAIN = replace(Recipe(), colour=0.0, hue=0.0)


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("side", [40, 64, 200])
def test_views_have_the_size_asked_for(side):
    view = vary(np.asarray(draw(1, 1, side)), 48, Recipe(), np.random.default_rng(0))

    assert (view.shape, view.dtype) == ((48, 48, 3), np.uint8)


def test_views_repeat_by_seed_and_differ_otherwise():
    pixels = np.asarray(draw(1, 1, 200))
    first, again, other = (vary(pixels, 48, Recipe(), np.random.default_rng(seed)) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_shrinking_takes_sharpness_away():
    pixels = np.asarray(draw(1, 1, 250))
    whole = replace(Recipe(), crop_area=(1.0, 1.0))

    def sharpness(blur: float) -> float:
        views = [vary(pixels, 192, replace(whole, blur=blur), np.random.default_rng(seed)) for seed in range(6)]
        return float(np.mean([np.abs(np.diff(view.astype(float), axis=1)).mean() for view in views]))

    assert sharpness(1.0) < 0.8 * sharpness(0.0)


def test_no_colour_change_asked_for_none_made(pictures):
    torch.testing.assert_close(recolour(pictures, PLAIN, np.random.default_rng(0)), pictures, atol=2e-3, rtol=0)


def test_hue_turns_by_no_more_than_asked_for():
    red = torch.tensor([0.8, 0.3, 0.3]).view(1, 3, 1, 1).expand(64, 3, 2, 2).clone()
    turned = recolour(red, replace(PLAIN, hue=0.04), np.random.default_rng(0))

    hues = [(colorsys.rgb_to_hsv(*pixel)[0] + 0.5) % 1 - 0.5 for pixel in turned[:, :, 0, 0].tolist()]

    assert 0.01 < max(map(abs, hues)) < 0.06


def test_brightness_contrast_and_saturation_stay_in_range(pictures):
    varied = recolour(pictures, replace(PLAIN, colour=0.4), np.random.default_rng(3))

    assert varied.min() >= 0
    assert varied.max() <= 1
    assert not torch.allclose(varied, pictures, atol=0.02)


@pytest.mark.parametrize("epochs", range(1, 13))
def test_progressive_stages_add_up_and_grow_towards_the_size(epochs):
    stages = progressive(192, epochs)

    assert sum(count for _, count in stages) == epochs
    assert 96 <= stages[0][0] <= stages[-1][0] <= 192
    assert [size for size, _ in stages] == sorted(size for size, _ in stages)

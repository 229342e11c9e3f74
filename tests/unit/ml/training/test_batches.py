"""Random views and their batches: right in shape, repeatable, and only as different as asked for."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ml.data.dataset import load_dataset
from ml.training.batches import DISTORTIONS, epoch_batches, random_view, view_loader
from ml.training.group import ALONE, Group
from ml.training.recipe import Recipe
from tests.unit.ml.conftest import draw
from umbel.base.errors import BadDataset
from umbel.base.settings import Settings

STILL = replace(Recipe(), color=0.0, hue=0.0, crop_area=(1.0, 1.0), blur=0.0, distortions=0)


def view(pixels, recipe, seed=0, size=48):
    return random_view(np.asarray(pixels), size, recipe, np.random.default_rng(seed))


def plain(color, side=60):
    return Image.new("RGB", (side, side), color)


def sharpness(one):
    return np.abs(np.diff(one.astype(float), axis=1)).mean()


@pytest.mark.parametrize("side", [40, 64, 200])
@pytest.mark.parametrize("seed", range(12))
def test_views_have_the_size_asked_for(side, seed):
    one = view(draw(1, 1, side), replace(Recipe(), distortions=2), seed)

    assert (one.shape, one.dtype) == ((48, 48, 3), np.uint8)


def test_an_image_of_one_pixel_has_views_too():
    assert view(plain("red", 1), Recipe()).shape == (48, 48, 3)


def test_views_repeat_by_seed_and_differ_otherwise():
    first, again, other = (view(draw(1, 1, 200), Recipe(), seed) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("color", [(204, 76, 76), (3, 250, 128), (90, 90, 90)])
def test_no_color_change_asked_for_none_made(color):
    assert np.abs(view(plain(color), STILL).astype(int) - color).max() <= 2


def test_crops_hold_the_share_of_the_area_asked_for():
    ramp = np.broadcast_to(np.linspace(0, 255, 200, dtype=np.uint8)[:, None, None], (200, 200, 3))

    spans = [np.ptp(view(ramp, replace(STILL, crop_area=(0.25, 0.25)), seed)) / 255 for seed in range(20)]

    assert 0.4 < min(spans) < max(spans) < 0.6  # the height of a quarter of the area, give or take the aspect


def test_shrinking_takes_sharpness_away():
    image = draw(1, 1, 250)

    views = {blur: [view(image, replace(STILL, blur=blur), seed, 192) for seed in range(6)] for blur in (0.0, 1.0)}

    assert np.mean([sharpness(one) for one in views[1.0]]) < 0.8 * np.mean([sharpness(one) for one in views[0.0]])


def test_hue_turns_by_no_more_than_asked_for():
    reds = [view(plain((204, 76, 76)), replace(STILL, hue=0.04), seed)[0, 0] / 255 for seed in range(40)]

    hues = [(colorsys.rgb_to_hsv(*red)[0] + 0.5) % 1 - 0.5 for red in reds]

    assert 0.01 < max(map(abs, hues)) < 0.05


def test_brightness_varies_by_no_more_than_asked_for():
    greys = [view(plain((100, 100, 100)), replace(STILL, color=0.2), seed).mean() for seed in range(40)]

    assert 78 < min(greys) < 95
    assert 105 < max(greys) < 122


@pytest.mark.parametrize("distort", DISTORTIONS)
@pytest.mark.parametrize("strength", [-1.0, -0.3, 0.0, 0.3, 1.0])
def test_every_distortion_keeps_size_and_most_of_the_color(distort, strength):
    image = draw(1, 2)

    distorted = distort(image, strength)

    assert (distorted.size, distorted.mode) == (image.size, "RGB")
    colors = [np.asarray(one, dtype=float).mean((0, 1)) for one in (image, distorted)]
    assert np.abs(colors[0] - colors[1]).max() < 64
    assert strength or np.abs(np.asarray(distorted, int) - np.asarray(image, int)).mean() < 3


def test_an_epoch_begun_in_its_middle_has_the_same_batches(make_folder):
    dataset = load_dataset([make_folder()], Settings())
    recipe, everything = replace(Recipe(), batch_size=4), np.arange(len(dataset.labels))

    def batches(first=0):
        load = view_loader(dataset, recipe)
        return list(
            epoch_batches(load, everything, dataset.labels, dataset.folders, recipe, epoch=1, size=32, first=first)
        )

    whole, rest = batches(), batches(first=2)
    assert [len(batch.rows) for batch in whole] == [4] * 4
    assert whole[0].images.shape == (4, 3, 32, 32)
    for one, again in zip(whole[2:], rest, strict=True):
        assert torch.equal(one.images, again.images)
        assert torch.equal(one.rows, again.rows)


def test_shares_of_a_batch_make_up_the_whole_batch(make_folder):
    dataset = load_dataset([make_folder()], Settings())
    recipe, everything = replace(Recipe(), batch_size=4), np.arange(len(dataset.labels))
    load = view_loader(dataset, recipe)

    whole, *shares = (
        list(epoch_batches(load, everything, dataset.labels, dataset.folders, recipe, epoch=0, size=32, group=group))
        for group in (ALONE, Group(0, 2), Group(1, 2))
    )

    for batch, even, odd in zip(whole, *shares, strict=True):
        assert torch.equal(batch.rows, torch.stack([even.rows, odd.rows], 1).flatten())
        assert torch.equal(batch.images[0::2], even.images)
        assert torch.equal(batch.images[1::2], odd.images)


@pytest.mark.slow
def test_processes_that_decode_anew_make_the_same_batches(make_folder):
    folder = make_folder()
    recipe, epochs = replace(Recipe(), batch_size=6), []

    for workers in (0, 2):
        dataset = load_dataset([folder], Settings(), keep=workers == 0)
        load = view_loader(dataset, recipe, workers)
        everything = np.arange(len(dataset.labels))
        epochs.append(
            [
                batch
                for epoch in (0, 1)
                for batch in epoch_batches(
                    load, everything, dataset.labels, dataset.folders, recipe, epoch=epoch, size=32
                )
            ]
        )

    assert len(epochs[0]) == 6
    for kept, anew in zip(*epochs, strict=True):
        assert torch.equal(kept.images, anew.images)
        assert torch.equal(kept.rows, anew.rows)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_file_that_vanishes_while_it_is_learned_from_is_named(make_folder, workers):
    folder = make_folder()
    dataset = load_dataset([folder], Settings(), keep=False)
    (folder / "kind1" / "3.jpg").unlink()
    recipe, everything = replace(Recipe(), batch_size=18), np.arange(18)

    with pytest.raises(BadDataset, match=r"^\S*kind1/3.jpg cannot be read any more"):
        list(
            epoch_batches(
                view_loader(dataset, recipe, workers),
                everything,
                dataset.labels,
                dataset.folders,
                recipe,
                epoch=0,
                size=32,
            )
        )

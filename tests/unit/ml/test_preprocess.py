"""What the network is fed: the same bytes always give the same pixels, and every knob is in the hash."""

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from ml.preprocess import Preprocessing
from tests.unit.ml.conftest import as_file, draw
from umbel.base.errors import CorruptImage, EmptyFile, UnsupportedImage


def test_the_hash_of_the_default_preprocessing_never_changes():
    # A change here makes every stored embedding incomparable with new ones: it needs a new model version.
    assert Preprocessing(size=192).hash == "98e9084e3de9b1b6d241f8c9b8bf9654d2dd0f2badc591bced7dafefe8c2df85"


@pytest.mark.parametrize(
    "change",
    [
        {"size": 224},
        {"resize": "squash"},
        {"crop": 0.9},
        {"interpolation": "bilinear"},
        {"mean": (0.5, 0.5, 0.5)},
        {"std": (0.5, 0.5, 0.5)},
        {"draft": 0},
        {"flip_average": True},
    ],
)
def test_every_knob_is_in_the_hash(change):
    assert Preprocessing(**change).hash != Preprocessing().hash


def test_the_same_bytes_give_the_same_pixels(limits):
    data = as_file(draw(1, 1, side=300))
    first, second = (Preprocessing(size=64).decode(data, limits) for _ in range(2))

    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("data", "error"), [(b"", EmptyFile), (b"hello", UnsupportedImage)])
def test_what_is_no_picture_is_refused(data, error, limits):
    with pytest.raises(error):
        Preprocessing().decode(data, limits)


def test_a_picture_without_pixels_is_refused(limits):
    with pytest.raises(CorruptImage):
        Preprocessing().decode(as_file(draw(1, 1, side=300))[:200], limits)


def test_draft_scaling_keeps_twice_the_target_and_hardly_changes_a_pixel(limits):
    data = as_file(draw(0, 4, side=1000).resize((1016, 1000)).convert("RGB"))
    quick, full = (Preprocessing(size=64, draft=draft).decode(data, limits).astype(float) for draft in (2, 0))

    assert np.abs(quick - full).mean() < 2


def test_exif_orientation_is_applied(limits):
    picture = draw(2, 2)
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 270° to see it upright
    out = io.BytesIO()
    turned.save(out, "PNG", exif=exif)
    np.testing.assert_array_equal(
        Preprocessing(size=64).decode(out.getvalue(), limits),
        Preprocessing(size=64).decode(as_file(picture, "PNG"), limits),
    )


def test_crop_takes_the_middle_and_squash_takes_everything(limits):
    stripes = Image.new("RGB", (300, 100), "red")
    stripes.paste("blue", (100, 0, 200, 100))
    data = as_file(stripes, "PNG")

    cropped = Preprocessing(size=32).decode(data, limits)
    squashed = Preprocessing(size=32, resize="squash").decode(data, limits)

    assert (cropped[:, 2:-2] == (0, 0, 255)).all()
    assert (squashed[:, 0] == (255, 0, 0)).all()


def test_normalise_standardises_and_keeps_channels_last():
    look = Preprocessing(size=16)
    batch = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)

    tensor = look.normalise(batch)

    expected = (batch / 255 - np.array(look.mean)) / np.array(look.std)
    np.testing.assert_allclose(tensor.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)
    assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_cards_and_preprocessing_are_read_without_torch():
    modules = "ml.card, ml.preprocess, ml.training.recipe, ml.evaluation.metrics"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

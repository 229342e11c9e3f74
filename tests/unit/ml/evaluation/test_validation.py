"""Validation as the product is used: held-out pictures ask in all that is known of their folder."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ml.data.dataset import load_dataset
from ml.data.split import draw_split
from ml.evaluation import validation
from ml.evaluation.calibration import fit_sets
from ml.evaluation.metrics import Metrics
from ml.preprocess import Preprocessing
from ml.training.curves import draw_curves
from ml.training.progress import Epoch, Progress
from ml.training.recipe import Recipe
from tests.unit.ml.data.test_split import dataset_of
from umbel.base.settings import Settings


def vectors_of(labels: np.ndarray, noise: float = 0.6) -> torch.Tensor:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(labels.max() + 1, 32))
    found = centers[labels] + noise * rng.normal(size=(len(labels), 32))
    return torch.from_numpy((found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32))


@pytest.mark.parametrize("pictures", range(2, 8))
def test_small_classes_are_judged_with_what_was_trained_on_in_the_gallery(pictures):
    dataset = dataset_of(np.repeat(np.arange(40), pictures))
    split = draw_split(dataset, validation=0.2, held_out_classes=6, seed=1)
    sets = validation.validation_sets(dataset, split.validation, split.held_out)
    vectors = vectors_of(dataset.labels, noise=0.1)

    metrics = validation.judge(sets, [vectors[one.positions] for one in sets])

    assert [one.name for one in sets] == ["drawn, held-out pictures", "held-out classes"]
    assert [one.pictures for one in metrics.values()] == [len(split.validation), len(split.held_out)]
    assert [one.r_at_1 for one in metrics.values()] == [1.0, 1.0]
    assert validation.score(sets, metrics) == pytest.approx(1, abs=1e-6)


def test_a_query_does_not_find_its_duplicates():
    dataset = dataset_of(np.repeat(np.arange(8), 4), np.arange(32) // 2)
    (one,) = validation.validation_sets(dataset, np.arange(0, 32, 4), np.empty(0, np.intp))

    assert one.protocol.relevant(one.labels)[::4].tolist() == [2] * 8


def test_other_folders_stay_out_of_the_gallery():
    dataset = replace(
        dataset_of(np.repeat(np.arange(6), 4)), folders=np.repeat([0, 1], 12), folder_names=["one", "other"]
    )
    sets = validation.validation_sets(dataset, np.array([0, 13]), np.empty(0, np.intp))

    assert [one.positions.tolist() for one in sets] == [list(range(12)), list(range(12, 24))]


def test_a_set_in_which_nothing_can_be_found_does_not_silence_the_others():
    dataset = dataset_of(np.repeat(np.arange(10), 4))
    found = validation.validation_sets(dataset, np.arange(0, 40, 4), np.empty(0, np.intp))[0]
    lonely = validation.ValidationSet("lonely", np.arange(2), np.arange(2))
    vectors = vectors_of(dataset.labels)

    metrics = validation.judge([found, lonely], [vectors, vectors[[0, 4]]])

    assert np.isnan(metrics["lonely"].r_at_1)
    assert 0 < validation.score([found, lonely], metrics) <= 1


def test_a_folder_that_is_only_judged_on_is_a_set_that_chooses_nothing():
    dataset = replace(
        dataset_of(np.repeat(np.arange(20), 10), np.append(np.arange(196), [196, 196, 197, 198])),
        folders=np.repeat([0, 1], 100),
        folder_names=["known", "held-out classes"],
        aside=frozenset({1}),
    )
    sets = validation.validation_sets(dataset, np.arange(0, 60, 2), np.arange(60, 100))
    vectors = vectors_of(dataset.labels)

    metrics = validation.judge(sets, [vectors[one.positions] for one in sets])
    calibration = fit_sets(sets, [vectors[one.positions] for one in sets], seed=1, class_names=dataset.classes)

    names = ["known, held-out pictures", "held-out classes", "held-out classes (2)"]
    assert [(one.name, one.chooses) for one in sets] == list(zip(names, (True, True, False), strict=True))
    assert sets[2].positions.tolist() == list(range(100, 200))
    assert sets[2].protocol.relevant(sets[2].labels).tolist() == [9] * 96 + [8, 8, 9, 9]
    metrics[names[2]] = replace(metrics[names[2]], r_at_1=0.0, map_at_r=0.0)
    assert validation.score(sets, metrics) == validation.score(sets[:2], metrics) > 0
    assert calibration is not None
    assert calibration.fitted.sets == names[:2]
    assert set(calibration.fitted.labels) <= {str(label) for label in range(10)}


def test_a_catalogue_of_1500_classes_of_six_is_split_judged_and_calibrated_without_a_nan():
    dataset = dataset_of(np.repeat(np.arange(1500), 6))
    split = draw_split(dataset, validation=0.2, held_out_classes=6, seed=1)
    sets = validation.validation_sets(dataset, split.validation, split.held_out)
    vectors = vectors_of(dataset.labels)
    judged = [vectors[one.positions] for one in sets]

    metrics = validation.judge(sets, judged)
    calibration = fit_sets(sets, judged, seed=1, class_names=dataset.classes)

    assert len(split.validation) == pytest.approx(1800, abs=20)
    assert all(np.isfinite(value) for one in metrics.values() for value in one.as_dict().values())
    assert calibration is not None
    assert calibration.fitted.pictures == len(split.validation) + 36
    assert calibration.vote.temperature > 0
    assert 0.9 < calibration.quality.accuracy <= 1


@pytest.mark.parametrize("width", [500, 760, 900, 1200, 1700])
def test_what_is_judged_are_the_pixels_that_are_served(tmp_path, width):
    rng = np.random.default_rng(width)
    for number in range(4):
        noise = rng.integers(0, 255, (width // 8, width // 6, 3), dtype=np.uint8)
        photo = Image.fromarray(noise).resize((width, width * 3 // 4), Image.Resampling.BICUBIC)
        made = io.BytesIO()
        photo.save(made, "JPEG", quality=85)
        path = tmp_path / "photos" / f"kind{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.getvalue())
    preprocessing, limits = Preprocessing(size=192), Settings()

    dataset = load_dataset([tmp_path / "photos"], limits, preprocessing=preprocessing)

    for path, pixels in zip(dataset.paths, dataset.served, strict=True):
        np.testing.assert_array_equal(pixels, preprocessing.decode(path.read_bytes(), limits))


def test_the_legend_of_twenty_one_folders_fits_into_the_curves(tmp_path):
    one = Metrics(*[0.5] * 10, pictures=10, classes=2)
    baseline = {f"a folder of some name {number}, held-out pictures": one for number in range(21)}
    recipe = Recipe()
    progress = Progress(epochs=[Epoch(0, 1, 128, 1.0, 1.0, 0.0, baseline, 0.5)])

    draw_curves(tmp_path / "few.png", progress, dict(list(baseline.items())[:3]), recipe=recipe, steps=10)
    draw_curves(tmp_path / "many.png", progress, baseline, recipe=recipe, steps=10)

    few, many = (Image.open(tmp_path / name).size for name in ("few.png", "many.png"))
    assert many[0] <= few[0]
    assert many[1] > few[1]

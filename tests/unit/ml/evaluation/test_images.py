"""The pictures of an evaluation: whatever the numbers, a clean PNG of a sensible size."""

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

from ml.evaluation import figures
from ml.evaluation.figures import Curve, Panel, confusion_figure, roc_figure, similarity_figure
from ml.evaluation.gallery_map import MOST, chosen, draw_map
from ml.evaluation.intervals import band, replicate
from ml.evaluation.metrics import rank
from ml.evaluation.query_sheet import extremes, query_sheet
from ml.evaluation.style import class_colors, save
from ml.evaluation.verification import pairs_of, verification
from ml.projection import project

ODD = "a label of $x^2_many words that goes on & on for ever, 桜 🌸"


def clusters(sizes: list[int], noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(len(sizes))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    vectors = rng.normal(size=(len(sizes), 16))[labels] + noise * rng.normal(size=(len(labels), 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def tint(index: int) -> Image.Image:
    return Image.new("RGB", (40, 30), (index * 37 % 256, index * 91 % 256, 90))


def size_of(path) -> tuple[int, int]:
    with Image.open(path) as picture:
        picture.load()
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        return picture.size


@pytest.mark.parametrize(("models", "sets"), [(1, 1), (2, 2)])
def test_curves_of_every_model_on_every_set(tmp_path, models, sets):
    vectors, labels = clusters([9, 7, 1])
    around = band(replicate(rank(vectors, labels), pairs_of(vectors, labels), 10, seed=1).tar)
    curves = [Curve(f"{ODD} {number}", verification(vectors, labels), around) for number in range(models)]
    panels = [Panel(ODD, curves) for _ in range(sets)]

    for draw in (roc_figure, similarity_figure):
        width, height = size_of(save(draw(panels), tmp_path / f"{draw.__name__}.png"))
        assert 800 * sets < width < 1000 * sets
        assert 400 < height < 1600


def test_a_curve_of_perfect_embeddings_without_a_band(tmp_path):
    labels = np.array([0, 0, 1, 1])
    panel = Panel("perfect", [Curve("model", verification(np.eye(2, dtype=np.float32)[labels], labels))])

    assert size_of(save(similarity_figure([panel]), tmp_path / "one.png"))
    assert size_of(save(roc_figure([panel]), tmp_path / "two.png"))


@pytest.mark.parametrize("classes", [2, 9, 18, 300])
def test_a_confusion_matrix_of_any_number_of_classes(tmp_path, monkeypatch, classes):
    monkeypatch.setattr(figures, "MOST_CLASSES", 20)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 600)
    predicted = np.where(rng.random(600) < 0.9, labels, rng.integers(0, classes, 600))
    matrix = confusion_matrix(labels, predicted, labels=range(classes))

    width, height = size_of(save(confusion_figure(matrix, [ODD] * classes, ODD), tmp_path / "confusion.png"))

    assert matrix.sum() == 600
    assert matrix.diagonal().sum() == (labels == predicted).sum()
    assert 400 < width < 2000
    assert 400 < height < 2000


def test_best_and_worst_queries_share_no_picture_and_take_turns():
    vectors, labels = clusters([30, 30, 30, 1], noise=1.5)
    rankings = rank(vectors, labels)

    best, worst = extremes(rankings)

    assert not set(best) & set(worst)
    assert 90 not in best + worst  # alone in its class
    assert min(rankings.average_precision[best]) >= max(rankings.average_precision[worst])
    assert [len(set(labels[some].tolist())) for some in (best, worst)] == [3, 3]


@pytest.mark.parametrize("sizes", [[2, 1], [3, 2], [30, 30, 30]])
def test_queries_are_shown_with_what_was_found(sizes):
    vectors, labels = clusters(sizes)

    sheet = query_sheet(rank(vectors, labels), [ODD] * len(sizes), ODD, tint)

    assert sheet.mode == "RGB"
    assert 300 < sheet.height < 1300


@pytest.mark.parametrize("sizes", [[2, 1], [8, 9, 5], [2] * 70])
def test_a_map_shows_every_picture_once(sizes):
    vectors, labels = clusters(sizes)
    shown = []

    def picture(index: int) -> Image.Image:
        shown.append(index)
        return tint(index)

    points = project(vectors, seed=1)
    sheet = draw_map(points, labels, [f"{ODD} {number}" for number in range(len(sizes))], ODD, picture)

    assert shown == list(range(len(labels)))
    assert points.min() >= 0
    assert points.max() <= 1
    assert (sheet.mode, sheet.width) == ("RGB", 1664)


def test_a_map_is_the_same_for_the_same_seed_and_keeps_classes_together():
    vectors, labels = clusters([12, 12, 12], noise=0.2)

    points = project(vectors, seed=1)

    np.testing.assert_allclose(points, project(vectors, seed=1))
    middles = np.array([points[labels == label].mean(0) for label in range(3)])
    nearest = np.linalg.norm(points[:, None] - middles[None], axis=2).argmin(1)
    assert (nearest == labels).all()


def test_equal_pictures_are_mapped_too():
    assert project(np.eye(3, dtype=np.float32)[[0] * 12], seed=1).shape == (12, 2)


def test_of_very_many_pictures_a_map_shows_some_of_every_class():
    labels = np.repeat([0, 1, 2], [3 * MOST, 1, 40])

    some = chosen(labels, seed=1)

    assert len(some) == MOST
    assert (np.diff(some) > 0).all()
    assert set(labels[some].tolist()) == {0, 1, 2}
    assert (some == chosen(labels, seed=1)).all()


@pytest.mark.parametrize("count", [1, 12, 13, 102])
def test_every_class_has_a_colour_of_its_own(count):
    assert len(set(class_colors(count))) == count

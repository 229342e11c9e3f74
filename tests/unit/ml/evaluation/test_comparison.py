"""Two models on the same pictures: the metrics are those of an evaluation, and their difference has an interval."""

import numpy as np
import pytest

from ml.evaluation.comparison import compare_models
from ml.evaluation.metrics import measure
from umbel.base.types import Vectors


def clustered(
    noise: float, seed: int, *, classes: int = 8, each: int = 12, dim: int = 16
) -> tuple[Vectors, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    vectors = np.eye(classes, dim)[labels] + noise * rng.normal(size=(len(labels), dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def test_the_figures_are_those_of_an_evaluation() -> None:
    (active, labels), (other, _) = clustered(0.3, 1), clustered(0.5, 2, dim=24)
    found = compare_models(active, other, labels).metrics
    for which, vectors in (("active", active), ("candidate", other)):
        metrics = measure(vectors, labels)
        assert getattr(found["r_at_1"], which) == pytest.approx(metrics.r_at_1, abs=1e-4)
        assert getattr(found["map_at_r"], which) == pytest.approx(metrics.map_at_r, abs=1e-4)


def test_the_interval_holds_the_difference_and_is_nothing_for_a_model_and_itself() -> None:
    (active, labels), (other, _) = clustered(0.3, 1), clustered(0.5, 2)
    for figure in compare_models(active, other, labels).metrics.values():
        assert figure.low < figure.candidate - figure.active < figure.high
    for figure in compare_models(active, active, labels).metrics.values():
        assert (figure.low, figure.high) == (0, 0)


def test_a_picture_alone_in_its_class_is_no_query() -> None:
    vectors, labels = clustered(0.3, 1, classes=3, each=4)
    labels[0] = 99
    compared = compare_models(vectors, vectors, labels)
    assert (compared.queries, compared.classes) == (11, 3)

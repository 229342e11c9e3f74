"""Metrics against scikit-learn and pytorch-metric-learning."""

import numpy as np
import pytest
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from sklearn.metrics import f1_score, roc_curve
from sklearn.neighbors import KNeighborsClassifier

from ml.evaluation import metrics


@pytest.fixture(scope="module")
def labelled() -> tuple[np.ndarray, np.ndarray]:
    """Six clusters that overlap, of uneven size."""
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(6), (30, 12, 9, 40, 25, 14))
    vectors = rng.normal(size=(6, 12))[labels] + rng.normal(size=(len(labels), 12)) * 1.6
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def test_retrieval_is_that_of_pytorch_metric_learning(labelled):
    vectors, labels = labelled
    names = ("precision_at_1", "mean_average_precision_at_r")
    nearest = CustomKNN(CosineSimilarity())
    expected = AccuracyCalculator(include=names, k="max_bin_count", knn_func=nearest).get_accuracy(vectors, labels)

    found = metrics.measure(vectors, labels)

    assert found.r_at_1 == pytest.approx(expected["precision_at_1"])
    assert found.map_at_r == pytest.approx(expected["mean_average_precision_at_r"], abs=1e-6)


def test_recall_at_k_is_counted_one_query_at_a_time(labelled):
    vectors, labels = labelled
    hits = []
    for query in range(len(labels)):
        order = [other for other in np.argsort(-(vectors @ vectors[query])) if other != query]
        hits.append(labels[query] in labels[order[:5]])

    assert metrics.measure(vectors, labels).r_at_5 == pytest.approx(np.mean(hits))


def test_knn_vote_is_that_of_scikit_learn(labelled):
    vectors, labels = labelled
    predicted = []
    for query in range(len(labels)):
        others = np.arange(len(labels)) != query
        vote = KNeighborsClassifier(11, metric="cosine", weights=lambda distance: (1 - distance).clip(min=0))
        predicted.append(vote.fit(vectors[others], labels[others]).predict(vectors[[query]])[0])

    assert metrics.measure(vectors, labels).knn_macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_verification_is_that_of_scikit_learn(labelled):
    vectors, labels = labelled
    rows, columns = np.triu_indices(len(labels), 1)
    same = labels[rows] == labels[columns]
    far, tar, _ = roc_curve(same, (vectors @ vectors.T)[rows, columns], drop_intermediate=False)

    found = metrics.measure(vectors, labels)

    assert found.eer == pytest.approx(far[np.argmin(np.abs(far - (1 - tar)))], abs=2e-3)
    assert found.tar_at_far_1e2 == pytest.approx(tar[far <= 0.01].max())
    assert found.tar_at_far_1e3 == pytest.approx(tar[far <= 0.001].max())


def test_a_picture_alone_in_its_class_is_not_asked_for():
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 2]]

    found = metrics.measure(vectors, np.array([4, 4, 7, 7, 9]))

    assert (found.r_at_1, found.map_at_r, found.pictures, found.classes) == (1, 1, 5, 3)


def test_blocks_of_queries_change_nothing(labelled, monkeypatch):
    whole = metrics.neighbours(labelled[0], 20)
    monkeypatch.setattr(metrics, "BLOCK", 17)

    for one, other in zip(whole, metrics.neighbours(labelled[0], 20), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)

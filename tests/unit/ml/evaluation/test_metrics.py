"""Metrics against scikit-learn and pytorch-metric-learning, with ties and with pictures alone in their class."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from sklearn.metrics import f1_score, roc_auc_score, roc_curve
from sklearn.neighbors import KNeighborsClassifier

from ml.evaluation import metrics
from ml.evaluation.protocol import Protocol
from tests.examples import examples
from umbel.search.vote import TEMPERATURE, vote

RATES = ("r_at_1", "r_at_5", "r_at_10", "r_precision", "map_at_r", "knn_macro_f1", "auc")
TARS = ("tar_at_far_1e2", "tar_at_far_1e3")


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clusters(sizes: tuple[int, ...], noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return unit(rng.normal(size=(len(sizes), 12))[labels] + rng.normal(size=(len(labels), 12)) * noise), labels


@pytest.fixture(
    scope="module",
    params=["overlapping", "with singletons", "with ties"],
)
def labelled(request) -> tuple[np.ndarray, np.ndarray]:
    """Clusters that overlap, of uneven size; some of one picture; some pictures twice."""
    if request.param == "overlapping":
        return clusters((30, 12, 9, 40, 25, 14), 1.6, 5)
    if request.param == "with singletons":
        return clusters((18, 1, 7, 1, 22, 2, 1), 1.4, 6)
    vectors, labels = clusters((15, 20, 11), 1.5, 7)
    return np.repeat(vectors, 2, axis=0), np.repeat(labels, 2)


def calibrated(temperature: float) -> SimpleNamespace:
    """A calibration as far as the vote's order asks for one."""
    rule = SimpleNamespace(
        k=11, temperature=temperature, intercept=0.0, share_gain=1.0, distance_loss=1.0, unknown_below=0.0
    )
    return SimpleNamespace(vote=rule)


def pairs(vectors: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.triu_indices(len(labels), 1)
    return labels[rows] == labels[columns], (vectors @ vectors.T)[rows, columns]


def test_retrieval_is_that_of_pytorch_metric_learning(labelled):
    vectors, labels = labelled
    names = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    nearest = CustomKNN(CosineSimilarity())
    expected = AccuracyCalculator(include=names, k="max_bin_count", knn_func=nearest).get_accuracy(vectors, labels)

    found = metrics.measure(vectors, labels)

    assert found.r_at_1 == pytest.approx(expected["precision_at_1"])
    assert found.r_precision == pytest.approx(expected["r_precision"], abs=1e-6)
    assert found.map_at_r == pytest.approx(expected["mean_average_precision_at_r"], abs=1e-6)


def test_recall_at_k_is_counted_one_query_at_a_time(labelled):
    vectors, labels = labelled
    hits = {5: [], 10: []}
    for query in np.flatnonzero(np.bincount(labels)[labels] > 1):
        order = [other for other in np.argsort(-(vectors @ vectors[query]), kind="stable") if other != query]
        for k, found in hits.items():
            found.append(labels[query] in labels[order[:k]])

    measured = metrics.measure(vectors, labels)

    assert (measured.r_at_5, measured.r_at_10) == pytest.approx((np.mean(hits[5]), np.mean(hits[10])))


def test_knn_vote_is_that_of_scikit_learn(labelled):
    vectors, labels = labelled
    queries = np.flatnonzero(np.bincount(labels)[labels] > 1)
    predicted = []
    for query in queries:
        others = np.arange(len(labels)) != query
        vote = KNeighborsClassifier(
            11, metric="cosine", weights=lambda distance: np.exp((distance.min() - distance) / TEMPERATURE)
        )
        predicted.append(vote.fit(vectors[others], labels[others]).predict(vectors[[query]])[0])
    expected = f1_score(labels[queries], predicted, labels=np.unique(labels[queries]), average="macro")

    assert metrics.measure(vectors, labels).knn_macro_f1 == pytest.approx(expected, abs=0.02)  # of equal votes either


def test_the_nearest_are_those_of_a_full_sort(labelled):
    vectors, labels = labelled
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)

    found = metrics.rank(vectors, labels)

    np.testing.assert_allclose(found.similarity, -np.sort(-similarity, 1)[:, :11], rtol=1e-5)
    np.testing.assert_array_equal(np.take_along_axis(similarity, found.nearest, 1), found.similarity)


def test_neighbors_vote_as_identify_lets_them():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 4, (50, 11))
    similarity = -np.sort(-rng.uniform(-0.2, 1, (50, 11)), 1).astype(np.float32)

    found = metrics.vote(labels, similarity, np.zeros(50, int), temperature=0.07)

    served = [
        vote((1 - near).tolist(), own.tolist(), calibrated(0.07)).ranked[0].label
        for near, own in zip(similarity, labels, strict=True)
    ]
    assert found.tolist() == served


def test_one_very_near_neighbor_outvotes_many_far_ones():
    labels, similarity = np.array([[1, 0, 0, 0]]), np.array([[0.95, 0.5, 0.5, 0.5]], np.float32)

    assert metrics.vote(labels, similarity, np.zeros(1, int)).tolist() == [1]


def test_a_query_finds_all_but_its_own_group(labelled):
    vectors, labels = labelled
    rng = np.random.default_rng(0)
    protocol = Protocol(
        asks=rng.random(len(labels)) < 0.4,
        found=rng.random(len(labels)) < 0.8,
        groups=np.arange(len(labels)) // 3,
    )

    found = metrics.rank(vectors, labels, protocol)

    for query in range(len(labels)):
        there = [
            other
            for other in np.argsort(-(vectors @ vectors[query]), kind="stable")
            if protocol.found[other] and other // 3 != query // 3
        ]
        relevant = sum(labels[other] == labels[query] for other in there)
        asked = protocol.asks[query] and relevant > 0
        assert found.is_query[query] == asked
        if asked:
            assert found.relevant[query] == relevant
            best = (vectors @ vectors[query])[there[: found.similarity.shape[1]]]
            np.testing.assert_allclose(found.similarity[query, : len(best)], best, rtol=1e-5)
            hits = np.array([labels[other] == labels[query] for other in there[:relevant]])
            expected = (hits.cumsum() / np.arange(1, relevant + 1) * hits).sum() / relevant
            assert found.average_precision[query] == pytest.approx(expected, abs=1e-6)


def test_pairs_are_those_of_a_query_and_what_it_may_find(labelled):
    vectors, labels = labelled
    rng = np.random.default_rng(1)
    asks, there = rng.random((2, len(labels))) < 0.5
    groups = np.arange(len(labels)) // 2
    protocol = Protocol(asks, there, groups)

    found = metrics.verification(vectors, labels, protocol)

    rows, columns = np.triu_indices(len(labels), 1)
    counted = ((asks[rows] & there[columns]) | (asks[columns] & there[rows])) & (groups[rows] != groups[columns])
    same, scores = pairs(vectors, labels)
    assert (found.same, found.different) == ((same & counted).sum(), (~same & counted).sum())
    assert found.auc == pytest.approx(roc_auc_score(same[counted], scores[counted]), abs=1e-4)


def test_weighted_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, predicted, weights = rng.integers(0, 5, 80), rng.integers(0, 5, 80), rng.integers(0, 4, (6, 80))
    weights[0, labels == 2] = 0

    for row in weights:
        there = np.unique(labels[row > 0])
        expected = f1_score(labels, predicted, labels=there, average="macro", sample_weight=row)
        assert metrics.macro_f1(labels, predicted, row) == pytest.approx(expected)


def test_verification_is_that_of_scikit_learn(labelled):
    vectors, labels = labelled
    same, scores = pairs(vectors, labels)
    # Products of one and the same pair of vectors may differ in their last bits: those are ties here.
    far, tar, thresholds = roc_curve(same, scores.round(5), drop_intermediate=False)

    found = metrics.measure(vectors, labels)
    roc = metrics.verification(vectors, labels)

    assert found.auc == pytest.approx(roc_auc_score(same, scores.round(5)), abs=2e-5)
    equal = np.argmin(np.abs(far - (1 - tar)))
    assert found.eer == pytest.approx((far[equal] + 1 - tar[equal]) / 2, abs=5e-3)
    assert roc.eer_threshold == pytest.approx(thresholds[equal], abs=0.02)
    assert found.tar_at_far_1e2 == pytest.approx(tar[far <= 0.01].max(), abs=1 / same.sum())
    assert found.tar_at_far_1e3 == pytest.approx(tar[far <= 0.001].max(), abs=1 / same.sum())
    assert (roc.same, roc.different) == (same.sum(), (~same).sum())


def test_a_tie_of_a_same_and_a_different_pair_counts_half():
    vectors = np.eye(2, dtype=np.float32)[[0, 0, 0, 0]]

    assert metrics.verification(vectors, np.array([0, 0, 1, 1])).auc == pytest.approx(0.5)


def test_a_picture_alone_in_its_class_is_not_asked_for_but_can_be_found():
    vectors = unit(np.array([[1, 0.0], [0.8, 0.6], [0, 1.0], [0.2, 1.0], [1, 0.1]]))
    labels = np.array([4, 4, 7, 7, 9])

    found, without = metrics.measure(vectors, labels), metrics.measure(vectors[:4], labels[:4])

    assert (found.r_at_1, found.map_at_r, found.pictures, found.classes) == (0.5, 0.5, 5, 3)
    assert (without.r_at_1, without.map_at_r) == (1, 1)


def test_without_same_or_different_pairs_there_is_no_rate():
    alone = metrics.measure(np.eye(3, dtype=np.float32), np.arange(3))
    one_class = metrics.measure(np.eye(3, dtype=np.float32), np.zeros(3, int))

    assert all(np.isnan(getattr(alone, name)) for name in (*RATES, *TARS, "eer"))
    assert all(np.isnan(getattr(one_class, name)) for name in ("auc", "eer", *TARS))
    assert one_class.r_at_1 == 1


def test_blocks_of_queries_change_nothing(labelled, monkeypatch):
    rankings, roc = metrics.rank(*labelled), metrics.verification(*labelled)
    monkeypatch.setattr(metrics, "BLOCK", 17)
    monkeypatch.setattr("ml.evaluation.verification.BLOCK", 17)

    found = metrics.rank(*labelled)
    np.testing.assert_allclose(found.similarity, rankings.similarity, rtol=1e-5)
    np.testing.assert_allclose(found.average_precision, rankings.average_precision, rtol=1e-5)
    assert metrics.verification(*labelled).auc == pytest.approx(roc.auc, abs=1e-6)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.floats(0.1, 3), st.integers(0, 2**32 - 1))
@examples(20)
def test_every_metric_is_a_share_and_does_not_mind_the_order(sizes, noise, seed):
    vectors, labels = clusters((2, *sizes), noise, seed)
    order = np.random.default_rng(seed).permutation(len(labels))

    found, shuffled = metrics.measure(vectors, labels), metrics.measure(vectors[order], 7 + 3 * labels[order])

    assert all(0 <= getattr(found, name) <= 1 for name in (*RATES, *TARS, "eer"))
    assert found.r_at_1 <= found.r_at_5 <= found.r_at_10
    assert found.map_at_r <= found.r_precision + 1e-9
    assert found.tar_at_far_1e3 <= found.tar_at_far_1e2
    assert found.as_dict(3) == pytest.approx(shuffled.as_dict(3), abs=2e-3)


@given(st.lists(st.integers(2, 14), min_size=2, max_size=6))
@examples(10)
def test_perfect_embeddings_score_one(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)

    found = metrics.measure(np.eye(len(sizes), dtype=np.float32)[labels], labels)

    assert [getattr(found, name) for name in (*RATES, *TARS)] == [1] * 9
    assert found.eer == 0

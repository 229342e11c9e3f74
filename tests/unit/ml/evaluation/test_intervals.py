"""Bootstrap intervals: the sums behind them against scikit-learn, and whether they hold what they promise."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ml.evaluation import pairs
from ml.evaluation.intervals import NAMES, band, draws, interval, replicate
from ml.evaluation.metrics import measure, rank, verification
from ml.evaluation.pairs import pairs_of


def sample(rng: np.random.Generator, pictures: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of one and the same world: its classes lie where they lie."""
    centres = np.random.default_rng(3).normal(size=(classes, 8))
    labels = np.append(np.arange(classes).repeat(2), rng.integers(0, classes, pictures - 2 * classes))
    vectors = centres[labels] + 1.3 * rng.normal(size=(pictures, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def test_a_resample_counts_as_many_pictures_as_there_are():
    counts = draws(50, 20, 1)

    assert counts.shape == (20, 50)
    assert (counts.sum(1) == 50).all()
    assert (counts == draws(50, 20, 1)).all()
    assert (counts != draws(50, 20, 2)).any()


def test_pairs_weigh_the_product_of_their_pictures():
    vectors, labels = sample(np.random.default_rng(0), 40)
    counts = draws(40, 5, 4)
    rows, columns = np.triu_indices(40, 1)
    same, scores = labels[rows] == labels[columns], (vectors @ vectors.T)[rows, columns]

    rocs = list(pairs_of(vectors, labels).rocs(counts))

    for row, roc in zip(counts.astype(float), rocs, strict=True):
        weight = row[rows] * row[columns]
        assert roc.auc == pytest.approx(roc_auc_score(same, scores, sample_weight=weight), abs=1e-6)
        accepted = weight * (scores >= 0.3)
        position = np.searchsorted(-roc.thresholds, -0.3, side="right") - 1
        assert roc.tar[position] == pytest.approx(accepted[same].sum() / weight[same].sum())
        assert roc.far[position] == pytest.approx(accepted[~same].sum() / weight[~same].sum())


def test_unweighted_pairs_give_the_whole_roc():
    vectors, labels = sample(np.random.default_rng(1), 150)

    (found,) = pairs_of(vectors, labels).rocs(np.ones((1, 150), int))
    whole = verification(vectors, labels)

    assert (found.auc, found.eer) == pytest.approx((whole.auc, whole.eer), abs=1e-3)
    assert (found.tar_at(0.01), found.tar_at(0.001)) == pytest.approx(
        (whole.tar_at(0.01), whole.tar_at(0.001)), abs=0.01
    )


def test_of_very_many_pairs_some_are_drawn(monkeypatch):
    vectors, labels = sample(np.random.default_rng(2), 200)
    labels = np.append(labels, 4)  # and one alone in its class
    vectors = np.concatenate([vectors, vectors[:1]])
    monkeypatch.setattr(pairs, "ALL_UP_TO", 100)
    monkeypatch.setattr(pairs, "DRAWN", 40_000)

    drawn = pairs_of(vectors, labels, seed=1)
    (found,) = drawn.rocs(np.ones((1, 201), int))

    assert drawn.drawn
    assert found.same == 40_000
    assert found.auc == pytest.approx(verification(vectors, labels).auc, abs=0.01)


def test_every_metric_lies_in_its_interval_and_more_resamples_change_little():
    vectors, labels = sample(np.random.default_rng(5), 120)
    rankings, found, some = rank(vectors, labels), measure(vectors, labels), pairs_of(vectors, labels)

    few, many = (replicate(rankings, some, draws(120, count, 1)) for count in (100, 400))

    for name in NAMES:
        one, other = interval(few.metrics[name]), interval(many.metrics[name])
        assert one.low - 0.02 <= getattr(found, name) <= one.high + 0.02
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.06)
    low, high = band(many.tar)
    assert (low <= high).all()
    assert (np.diff(low) >= 0).all()


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(8)
    truth = measure(*sample(rng, 2500))
    held = {"auc": 0, "eer": 0, "tar_at_far_1e2": 0}
    for seed in range(40):
        vectors, labels = sample(rng, 40)
        found = replicate(rank(vectors, labels), pairs_of(vectors, labels), draws(40, 100, seed))
        for name in held:
            around = interval(found.metrics[name])
            held[name] += around.low <= getattr(truth, name) <= around.high

    # 38 are to be expected; less than 33 where that is true, about once in two hundred times.
    assert all(count >= 33 for count in held.values()), held


def test_queries_resampled_hold_a_known_share_about_as_often_as_they_say():
    rng = np.random.default_rng(9)
    hits = rng.random((100, 80)) < 0.8
    held = 0
    for seed, row in enumerate(hits):
        counts = draws(80, 100, seed)
        around = interval(counts @ row / 80)
        held += around.low <= 0.8 <= around.high

    assert 87 <= held <= 99


def test_what_cannot_be_known_is_not_a_number():
    empty = interval(np.empty(0))

    assert np.isnan(empty.low)
    assert np.isnan(interval(np.full(5, np.nan)).high)

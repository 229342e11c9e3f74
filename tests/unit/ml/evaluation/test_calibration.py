"""Calibrations fitted to mixtures whose truth is known."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from ml.evaluation.figures import reliability_figure
from tests.examples import examples
from umbel.models.calibration import Calibration
from umbel.search import known_votes as votes
from umbel.search.calibration_fit import Labelled, fit
from umbel.search.vote import vote


def mixture(seed, *, classes=24, each=12, name="mixture"):
    """Classes strewn over the sphere, pictures strewn about their class."""
    rng, dim, spread = np.random.default_rng(seed), 24, 0.18
    labels = np.repeat(np.arange(classes), each)
    centres = rng.normal(size=(classes, dim))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = centres[labels] + rng.normal(size=(len(labels), dim)) * spread
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Labelled(name, vectors.astype(np.float32), labels)


def asked(calibration, one, query, *, known):
    """The verdict on a picture, with or without its class in the gallery."""
    there = np.arange(len(one.labels)) != query
    if not known:
        there &= one.labels != one.labels[query]
    distances = (1 - one.vectors[there] @ one.vectors[query]).clip(0, 2)
    near = np.argsort(distances)[: calibration.vote.k]
    return vote(distances[near].tolist(), one.labels[there][near].tolist(), calibration)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    found = fit([mixture(1), mixture(2, classes=6, each=20, name="few")], seed=0)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def outcomes(calibration):
    """Probability, whether right, whether unknown was said, of known and unknown queries of classes never fitted on."""
    fresh = mixture(3)
    found = {}
    for known in (True, False):
        rows = []
        for query in range(0, len(fresh.labels), 2):
            verdict = asked(calibration, fresh, query, known=known)
            best = verdict.ranked[0]
            rows.append((best.score, known and best.label == fresh.labels[query], verdict.unknown))
        found[known] = np.array(rows, dtype=float)
    return found


def test_a_probability_means_what_it_says_on_other_classes(outcomes):
    probability, right, _ = np.concatenate([outcomes[True], outcomes[False]]).T
    assert probability.mean() == pytest.approx(right.mean(), abs=0.06)
    sure, doubtful = right[probability > 0.9], right[probability < 0.3]
    assert sure.mean() > 0.9
    assert doubtful.mean() < 0.2


def test_unknown_kinds_are_refused_far_more_often_than_known_ones(outcomes):
    assert outcomes[False][:, 2].mean() > 0.85
    assert outcomes[True][:, 2].mean() < 0.4


def test_most_answers_are_right(outcomes):
    _, right, unknown = np.concatenate([outcomes[True], outcomes[False]]).T
    assert right[unknown == 0].mean() > 0.88


def test_its_own_account_is_honest(calibration):
    quality = calibration.quality
    assert quality.calibration_error < 0.06
    assert quality.accuracy >= 0.95
    assert quality.known_auroc > 0.9
    assert sum(one.weight for one in quality.reliability) == pytest.approx(1, abs=1e-3)
    assert calibration.fitted.sets == ["mixture", "few"]
    assert (calibration.fitted.pictures, calibration.fitted.classes) == (24 * 12 + 6 * 20, 30)


def test_it_survives_json_and_is_the_same_again(calibration):
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration
    assert fit([mixture(1), mixture(2, classes=6, each=20, name="few")], seed=0) == calibration


def test_distances_are_those_of_the_pairs():
    one = mixture(5)
    found = fit([one], seed=0).distances
    rows, columns = np.triu_indices(len(one.labels), 1)
    distances = (1 - one.vectors @ one.vectors.T)[rows, columns]
    same = one.labels[rows] == one.labels[columns]
    for threshold, most in ((found.far_1e2, 0.01), (found.far_1e3, 0.001)):
        accepted = distances <= threshold.distance
        assert accepted[~same].mean() == pytest.approx(threshold.far, abs=1e-4)
        assert accepted[same].mean() == pytest.approx(threshold.tar, abs=1e-3)
        assert most / 2 < threshold.far <= most
    assert found.eer.far == pytest.approx(1 - found.eer.tar, abs=0.01)
    assert found.far_1e3.distance < found.far_1e2.distance < found.eer.distance


@pytest.mark.parametrize("sets", [[], [mixture(0, classes=2, each=3)], [mixture(0, classes=1, each=60)]])
def test_too_little_is_not_calibrated(sets):
    assert fit(sets, seed=0) is None


def test_pictures_alone_in_their_class_are_not_asked_for():
    alone, rest = mixture(0, classes=40, each=1), mixture(0, classes=12, each=4)
    labels = np.concatenate([alone.labels + 100, rest.labels])
    both = Labelled("both", np.concatenate([alone.vectors, rest.vectors]), labels)
    assert fit([both], seed=0).fitted.pictures == 48


def simulated(rule: votes.Rule, count=20_000, seed=0) -> votes.Votes:
    rng = np.random.default_rng(seed)
    share, nearest = 1 - 0.8 * rng.random(count) ** 3, rng.random(count)
    chance = share * expit(rule.intercept + rule.share_gain * share - rule.distance_loss * nearest)
    known = rng.random(count) < 0.5
    weight = np.full(count, 1 / count)
    return votes.Votes(share, nearest, rng.random(count) < chance, known, weight, rng.integers(0, 40, count))


def test_a_known_rule_is_recovered():
    truth = votes.Rule(1.0, 3.0, 9.0)
    found = votes.fitted(simulated(truth, 60_000))
    assert found.share_gain == pytest.approx(truth.share_gain, abs=0.8)
    assert found.distance_loss == pytest.approx(truth.distance_loss, rel=0.1)
    grid = simulated(truth, 500, seed=1)
    np.testing.assert_allclose(found.probability(grid), truth.probability(grid), atol=0.03)


def test_nearer_never_counts_against_a_label():
    upside_down = simulated(votes.Rule(-4.0, 1.0, -8.0))
    assert votes.fitted(upside_down).distance_loss == 0


def test_a_class_is_judged_by_a_rule_that_never_saw_it():
    cast = simulated(votes.Rule(1.0, 3.0, 9.0), 2000)
    first = votes.cross_fitted(cast, seed=0)
    one = cast.kind == 7
    changed = votes.Votes(cast.share, cast.nearest, cast.right ^ one, cast.known, cast.weight, cast.kind)
    second = votes.cross_fitted(changed, seed=0)
    np.testing.assert_array_equal(first[one], second[one])
    assert not np.array_equal(first[~one], second[~one])


def test_the_threshold_lets_through_answers_of_which_most_are_right():
    cast = simulated(votes.Rule(6.0, 3.0, 20.0))
    chance = votes.fitted(cast).probability(cast)
    threshold, reason = votes.unknown_below(chance, cast)
    assert "95%" in reason
    assert cast.right[chance >= threshold].mean() >= 0.95
    assert cast.right[chance >= threshold - 0.05].mean() < 0.955  # and not many more could be let through


def test_where_answers_are_never_that_good_the_best_parting_is_taken():
    cast = simulated(votes.Rule(-1.0, 0.5, 3.0))
    assert votes.unknown_below(votes.fitted(cast).probability(cast), cast)[1] == "best balanced accuracy"


@examples(50)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_the_area_is_that_of_scikit_learn(pairs):
    scores, positive = np.array([one[0] for one in pairs], float), np.array([one[1] for one in pairs])
    expected = roc_auc_score(positive, scores) if 0 < positive.sum() < len(positive) else 0.5
    assert votes.auroc(scores, positive) == pytest.approx(expected)


def test_the_reliability_figure_is_drawn(calibration):
    out = io.BytesIO()
    reliability_figure(calibration).savefig(out, format="png")
    assert out.getvalue().startswith(b"\x89PNG")

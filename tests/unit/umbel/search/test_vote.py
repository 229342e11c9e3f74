"""The vote: probabilities that behave, whatever the neighbors."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from umbel.models.calibration import Bin, Calibration, Distances, Fitted, Quality, Threshold, VoteRule
from umbel.search.vote import Tally, probability_known, tally, vote, vote_together

EDGE = Threshold(distance=0.6, tar=0.9, far=0.1)
CALIBRATION = Calibration(
    distances=Distances(eer=EDGE, far_1e2=EDGE, far_1e3=EDGE),
    vote=VoteRule(k=5, temperature=0.05, intercept=1, share_gain=5, distance_loss=11, unknown_below=0.7),
    quality=Quality(
        calibration_error=0.02,
        known_auroc=0.96,
        answered=0.8,
        accuracy=0.95,
        unknown_refused=0.96,
        reliability=[Bin(probability=0.5, right=0.5, weight=1)],
    ),
    fitted=Fitted(description="", sets=["a"], pictures=100, classes=5, votes=200, threshold_rule=""),
)

distance = st.floats(0, 2)
label = st.sampled_from(["rose", "lily", "iris", None])
neighbors = st.lists(st.tuples(distance, label), max_size=20)


def ask(found, calibration=CALIBRATION):
    return vote([one[0] for one in found], [one[1] for one in found], calibration)


@examples(50)
@given(st.lists(neighbors, min_size=1, max_size=5))
def test_scores_are_probabilities_best_first(images):
    verdict = vote_together([([d for d, _ in one], [name for _, name in one]) for one in images], CALIBRATION)
    scores = [one.score for one in verdict.ranked]
    assert all(0 <= score <= 1 for score in scores)
    assert scores == sorted(scores, reverse=True)
    assert math.fsum(scores) <= 1 + 1e-9
    assert verdict.unknown == (not scores or scores[0] < CALIBRATION.vote.unknown_below)
    assert verdict.best is (None if verdict.unknown else verdict.ranked[0])


@examples(50)
@given(neighbors)
def test_evidence_are_the_nearest_labelled_ones_in_order(found):
    verdict = ask(found)
    used = sorted(at for one in verdict.ranked for at in one.evidence)
    assert len(used) == len(set(used)) >= min(5, sum(name is not None for _, name in found))
    reach = max((found[at][0] for at in used), default=0)
    assert used == [at for at, (far, name) in enumerate(found) if name is not None and far <= reach]
    for one in verdict.ranked:
        assert {found[at][1] for at in one.evidence} == {one.label}
        assert [found[at][0] for at in one.evidence] == sorted(found[at][0] for at in one.evidence)


@examples(50)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5]), label), max_size=12), st.randoms())
def test_the_order_of_the_list_changes_nothing(found, random):
    shuffled = random.sample(found, len(found))
    first, second = ask(found), ask(shuffled)
    assert [(one.label, one.score) for one in first.ranked] == [(one.label, one.score) for one in second.ranked]


@examples(50)
@given(neighbors.filter(bool), st.floats(0, 1))
def test_unlabelled_neighbors_have_no_say(found, far):
    labelled = [one for one in found if one[1] is not None]
    first, second = ask(labelled), ask([*labelled, (far, None)])
    assert [one.score for one in first.ranked] == [one.score for one in second.ranked]


@examples(50)
@given(st.floats(0.01, 1), st.floats(0.01, 1), distance, distance)
def test_what_is_known_rises_with_the_share_and_falls_with_the_distance(low, high, near, far):
    low, high = sorted((low, high))
    near, far = sorted((near, far))
    less, more = (probability_known(Tally("a", *one, ()), CALIBRATION.vote) for one in ((low, far), (high, near)))
    assert less <= more


@examples(50)
@given(st.floats(0, 0.4), st.integers(1, 5))
def test_another_neighbor_of_the_label_never_speaks_against_it(near, count):
    others = [(near + 0.1, "lily"), (near + 0.12, "iris")]
    before = ask([(near, "rose")] * count + others)
    after = ask([(near, "rose")] * (count + 1) + others)
    assert before.ranked[0].label == after.ranked[0].label == "rose"
    assert after.ranked[0].score >= before.ranked[0].score


def test_a_few_near_pictures_win_against_many_far_ones():
    assert ask([(0.1, "rose")] + [(0.5, "lily")] * 10).best.label == "rose"


def test_one_label_alone_is_trusted_only_when_near():
    assert ask([(0.1, "rose")] * 5).best.label == "rose"
    assert ask([(0.9, "rose")] * 5).unknown


@pytest.mark.parametrize("found", [[], [(0.1, None)], [(0.1, None)] * 30])
def test_nothing_to_stand_on_is_unknown(found):
    verdict = ask(found)
    assert (verdict.ranked, verdict.unknown, verdict.best) == ([], True, None)


def test_two_labels_at_one_distance_are_not_told_apart():
    verdict = ask([(0.2, "rose"), (0.2, "lily")])
    assert [one.label for one in verdict.ranked] == ["lily", "rose"]
    assert verdict.ranked[0].score == verdict.ranked[1].score <= 0.5
    assert ask([(0.0, "rose"), (0.0, "lily")]).unknown


def test_pictures_of_one_subject_are_averaged_not_multiplied():
    one = ([0.3, 0.4], ["rose", "lily"])
    alone, thrice = vote(*one, CALIBRATION), vote_together([one] * 3, CALIBRATION)
    assert thrice.ranked[0].score == pytest.approx(alone.ranked[0].score)
    assert thrice.ranked[0].evidence == (0, 2, 4)


def test_pictures_that_disagree_are_not_trusted():
    certain = [([0.1] * 5, [name] * 5) for name in ("rose", "lily", "iris")]
    assert not any(vote(*one, CALIBRATION).unknown for one in certain)
    assert vote_together(certain, CALIBRATION).unknown


def test_the_choice_gets_steadier_with_more_pictures():
    misled, clear = ([0.3, 0.32], ["lily", "rose"]), ([0.2, 0.6], ["rose", "lily"])
    assert vote(*misled, CALIBRATION).ranked[0].label == "lily"
    assert vote_together([misled, clear, clear], CALIBRATION).ranked[0].label == "rose"


def test_a_picture_without_labelled_neighbors_does_not_dilute_the_others():
    clear = ([0.2], ["rose"])
    alone, both = vote(*clear, CALIBRATION), vote_together([([0.1], [None]), clear], CALIBRATION)
    assert both.ranked[0].score == alone.ranked[0].score
    assert both.ranked[0].evidence == (1,)


@pytest.mark.parametrize("distances", [[2.5], [-0.1], [math.nan], [0.1, 0.2]])
def test_distances_that_do_not_fit_are_refused(distances):
    with pytest.raises(ValueError, match=r"distances|Cosine"):
        vote(distances, ["rose"], CALIBRATION)


def test_a_rounding_error_below_zero_is_zero():
    assert tally([-1e-7], ["rose"], k=5, temperature=0.05)[0].nearest == 0


@pytest.mark.parametrize("count", [0, 6])
def test_one_to_five_pictures_vote(count):
    with pytest.raises(ValueError, match="1 to 5"):
        vote_together([([0.1], ["rose"])] * count, CALIBRATION)

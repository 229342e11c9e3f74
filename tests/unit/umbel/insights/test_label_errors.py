"""How much neighbors doubt a label."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ml
from umbel.insights.label_errors import LabelError, label_error_probability
from umbel.models.calibration import Calibration

CARD = json.loads((Path(ml.__file__).parent / "weights" / "umbel-b0.json").read_text())
CALIBRATION = Calibration.model_validate(CARD["calibration"])

labels = st.sampled_from(["rose", "tulip", "daisy", None])
neighbors = st.lists(st.tuples(st.floats(0, 1.5), labels), max_size=16)


@pytest.mark.parametrize("calibration", [CALIBRATION, None])
def test_near_neighbors_of_another_label_are_a_reason_to_doubt(calibration: Calibration | None) -> None:
    found = label_error_probability("rose", [0.05] * 11, ["tulip"] * 10 + ["rose"], calibration)
    assert found is not None
    assert (found.suggested, found.label_error_probability > 0.8) == ("tulip", True)


@pytest.mark.parametrize("calibration", [CALIBRATION, None])
def test_neighbors_that_agree_leave_no_doubt(calibration: Calibration | None) -> None:
    assert label_error_probability("rose", [0.05] * 11, ["rose"] * 11, calibration) == LabelError(None, 0.0)


@pytest.mark.parametrize("calibration", [CALIBRATION, None])
def test_without_labelled_neighbors_nobody_can_say(calibration: Calibration | None) -> None:
    assert label_error_probability("rose", [0.1, 0.2], [None, None], calibration) is None


def test_far_neighbors_are_little_reason_to_doubt() -> None:
    near = label_error_probability("rose", [0.05] * 11, ["tulip"] * 11, CALIBRATION)
    far = label_error_probability("rose", [1.2] * 11, ["tulip"] * 11, CALIBRATION)
    assert near is not None
    assert far is not None
    assert far.label_error_probability < 0.1 < near.label_error_probability


@given(neighbors, st.sampled_from([CALIBRATION, None]))
def test_a_doubt_is_a_probability_and_never_suggests_the_label_itself(
    near: list[tuple[float, str | None]], calibration: Calibration | None
) -> None:
    found = label_error_probability(
        "rose", [distance for distance, _ in near], [label for _, label in near], calibration
    )
    assert found is None or (0 <= found.label_error_probability <= 1 and found.suggested != "rose")

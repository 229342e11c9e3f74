"""Calibrations as they lie in a card."""

import pytest
from pydantic import ValidationError

from umbel.models.calibration import Calibration, Threshold

from .test_vote import CALIBRATION


def test_a_calibration_survives_its_card():
    assert Calibration.model_validate_json(CALIBRATION.model_dump_json()) == CALIBRATION


def test_an_unknown_field_is_refused():
    with pytest.raises(ValidationError, match="extra"):
        Calibration.model_validate(CALIBRATION.model_dump() | {"surprise": 1})


@pytest.mark.parametrize(
    "change", [{"share_gain": -1}, {"unknown_below": 1.5}, {"temperature": 0}, {"intercept": "nan"}]
)
def test_a_rule_that_makes_no_sense_is_refused(change):
    fields = CALIBRATION.model_dump()
    with pytest.raises(ValidationError):
        Calibration.model_validate(fields | {"vote": fields["vote"] | change})


def test_a_threshold_is_a_cosine_distance():
    with pytest.raises(ValidationError):
        Threshold(distance=2.1, tar=0.5, far=0.5)

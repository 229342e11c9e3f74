"""The figures of docs/explanation/scale.md are those of the benchmarks."""

import json
from pathlib import Path

import pytest

from benchmarks.common import RESULTS
from benchmarks.scale import SIZES, current_rates, estimate, page_table

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "scale.md"
ANSWER = json.loads((RESULTS / "scale.json").read_text())


def test_the_page_shows_the_table_that_was_computed() -> None:
    assert page_table(ANSWER) in PAGE.read_text(), page_table(ANSWER)


def test_the_rates_are_about_those_that_the_other_benchmarks_found_last() -> None:
    assert ANSWER["rates"] == pytest.approx(current_rates(), rel=0.25), "python -m benchmarks.scale"


def test_the_table_follows_from_what_was_measured() -> None:
    assert ANSWER["table"] == {f"{size:.0e}": estimate(size, ANSWER, ANSWER["rates"]) for size in SIZES}

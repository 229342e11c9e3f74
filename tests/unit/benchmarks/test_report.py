"""docs/performance.md, its appendix and their plots show the results that are in benchmarks/results/."""

import pytest

from benchmarks import report
from benchmarks.figures import SECTIONS, overview
from benchmarks.plots import IMAGES, PLOTS, digest
from benchmarks.targets import TARGETS, reached

RESULTS = report.load()


def test_the_pages_are_those_of_the_results() -> None:
    assert report.PAGE.read_text() == overview(RESULTS), "python -m benchmarks.report"
    assert report.DETAILS.read_text() == report.details(RESULTS), "python -m benchmarks.report"


def test_each_figure_for_users_has_a_result() -> None:
    assert [
        figure.what for section in SECTIONS for figure in section.figures if not set(figure.results) <= set(RESULTS)
    ] == []


@pytest.mark.parametrize("name", sorted(PLOTS.keys() & RESULTS.keys()))
def test_a_picture_is_that_of_its_result(name: str) -> None:
    assert digest(RESULTS[name]) in (IMAGES / f"{name}.svg").read_text(), "python -m benchmarks.report"


def test_a_target_is_judged_by_the_median_of_the_blocks() -> None:
    results = {"copy": {"over_single": {"copy": {"median": 19.9, "min": 1, "max": 99}}}}
    [(target, value)] = reached(results)
    assert (target.result, value, target.met(value)) == ("copy", 19.9, False)


def test_a_result_of_unknown_fields_becomes_tables() -> None:
    frame = {"machine": {"cpu": "A", "cores": 2}, "load_before": 0.1, "commit": "abc", "command": "python -m b.gpu"}
    spread = {"median": 12.34, "min": 1, "max": 5678.9}
    text = report.details({"gpu": frame | {"note": "Why.", "rate": spread, "by": {"8": {"ms": 1}, "16": {"ms": 2}}}})
    assert "| rate | 12.3 (1 – 5,679) |" in text
    assert "| by | ms |\n| --- | --- |\n| 8 | 1 |\n| 16 | 2 |" in text
    assert "\nWhy.\n" in text


def test_no_figure_is_lost_among_groups_of_other_shapes() -> None:
    spread = {"median": 2.5, "min": 1, "max": 4}
    mixed = {"ours": {"versions": {"torch": "2.13"}, "ms": spread}, "theirs": {"ms": spread}}
    text = "".join(report._tables({"peers": mixed, "http": {"p50": {"id": spread, "sql": spread}, "id over sql": 7}}))
    assert "| peers | versions | ms |" in text
    assert "| ours | torch 2.13 | 2.5 (1 – 4) |" in text
    assert "| theirs |  | 2.5 (1 – 4) |" in text
    assert "| http | id | sql |" in text
    assert "| id over sql | 7 |" in text


def test_each_target_has_one_bound() -> None:
    assert [target.what for target in TARGETS if (target.least is None) == (target.most is None)] == []

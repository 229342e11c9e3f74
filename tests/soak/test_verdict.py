"""A series is flat although it is noisy, and grows although it is slow."""

import random

import pytest

from tests.soak.verdict import Verdict, judged, verdict

SAMPLES = 360


def series(*, slope: float = 0, noise: float = 0, start: float = 400) -> list[tuple[float, float]]:
    """slope: an hour."""
    rng = random.Random(3)
    return [(10.0 * n, start + slope * n / SAMPLES + rng.uniform(-noise, noise)) for n in range(SAMPLES)]


def decided(name: str, points: list[tuple[float, float]]) -> Verdict:
    found = verdict(name, points)
    assert found is not None
    return found


@pytest.mark.parametrize(("slope", "flat"), [(0, True), (15, True), (25, False), (-200, True)])
def test_growth_next_to_what_is_allowed(slope: float, flat: bool) -> None:
    found = decided("memory_mb.api", series(slope=slope, noise=10))
    assert found.flat == flat
    assert abs(found.growth - slope) < 4


def test_a_single_peak_does_not_decide() -> None:
    points = series()
    points[-1] = (points[-1][0], 10_000)
    assert decided("memory_mb.api", points).growth == 0


def test_only_the_last_half_counts() -> None:
    rows = [{"seconds": 10.0 * n, "files.api": min(n, 50)} for n in range(120)]
    assert [each.flat for each in judged(rows)] == [True]
    assert [each.flat for each in judged(rows[:60])] == [False]


def test_a_table_whose_content_grows_is_judged_by_the_row() -> None:
    rows = [{"seconds": 10.0 * n, "rows.job": 1000 + 50 * n, "table_mb.job": 1 + 0.02 * n} for n in range(60)]
    assert [(each.name, each.flat) for each in judged(rows)] == [("bytes_a_row.job, table", True)]


def test_a_table_that_grows_without_content_is_not_flat() -> None:
    rows = [{"seconds": 10.0 * n, "rows.job": 1000, "table_mb.job": 1 + 0.05 * n} for n in range(60)]
    assert [(each.name, each.flat) for each in judged(rows)] == [("table_mb.job", False)]


def test_a_table_whose_rows_become_larger_is_not_flat() -> None:
    rows = [
        {"seconds": 10.0 * n, "rows.job": 1000 + 10 * n, "table_mb.job": 1 + 0.05 * n, "dead_rows.job": 9 * n}
        for n in range(60)
    ]
    assert [(each.name, each.flat) for each in judged(rows)] == [("bytes_a_row.job, table", False)]


def test_what_is_shown_only_has_no_verdict() -> None:
    assert verdict("rows.job", series(slope=5000)) is None
    assert verdict("memory_mb.api", series()[:3]) is None

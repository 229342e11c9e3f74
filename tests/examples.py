"""How many cases Hypothesis draws for a test.

A run without HYPOTHESIS_SEARCH draws the same cases each time, so a few of them show whether a change broke something;
HYPOTHESIS_SEARCH=1 looks for new ones, and then all that a test names are drawn.
"""

import os

from hypothesis import HealthCheck, settings

SEARCH = bool(os.environ.get("HYPOTHESIS_SEARCH"))
USUAL = 100  # what a test gets that names no number, in a search


def examples(count: int) -> settings:
    """Decorates a test that draws `count` cases in a search, else two fifths of them, and ten at least."""
    return settings(max_examples=_drawn(count))


def load_profile() -> None:
    """What holds for all tests. They have no deadline: how long a case takes says how busy the machine is."""
    settings.register_profile(
        "umbel",
        derandomize=not SEARCH,
        deadline=None,
        max_examples=_drawn(USUAL),
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    settings.load_profile("umbel")


def _drawn(count: int) -> int:
    return count if SEARCH else min(count, max(10, count * 2 // 5))

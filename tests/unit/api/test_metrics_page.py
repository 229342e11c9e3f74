"""The list of metrics, and what is built on it: the guide to watching Umbel, dashboards and alerts."""

import re
from pathlib import Path

from api.metrics_page import described

ROOT = Path(__file__).parents[3]
BUILT_ON_IT = [
    ROOT / "docs" / "how-to" / "monitor.md",
    *(path for path in (ROOT / "deploy").rglob("*") if path.suffix in (".json", ".yaml", ".yml")),
]
METRIC = (
    r"\bumbel_(?:request|search|query|failed|item|batch|stage|image|decoders|gpu"
    r"|jobs|oldest|index|worker|database_up|rate_limit)\w*"
)


def test_it_lists_what_there_is() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == described(), "python -m api.metrics_page > docs/metrics.md"


def test_nothing_is_asked_for_that_is_not_there() -> None:
    there = set(re.findall(r"^\| `(umbel_\w+)`", described(), re.MULTILINE))
    asked = {name for path in BUILT_ON_IT for name in re.findall(METRIC, path.read_text())}
    assert len(asked) > 10
    assert {re.sub(r"(?<=_seconds)_(bucket|sum|count)$", "", name) for name in asked} <= there

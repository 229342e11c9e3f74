"""The list of metrics, and what is built on it: the guide to watching Umbel, dashboards and alerts."""

import re
from pathlib import Path

import yaml

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

[ALERTS] = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"]
THERE = set(re.findall(r"^\| `(umbel_\w+)`", described(), re.MULTILINE))


def without_series(names: set[str]) -> set[str]:
    """Histograms by their own names."""
    return {re.sub(r"(?<=_seconds)_(bucket|sum|count)$", "", name) for name in names}


def test_it_lists_what_there_is() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == described(), "python -m api.metrics_page > docs/metrics.md"


def test_nothing_is_asked_for_that_is_not_there() -> None:
    asked = {name for path in BUILT_ON_IT for name in re.findall(METRIC, path.read_text())}
    assert len(asked) > 10
    assert without_series(asked) <= THERE


def test_every_alert_asks_for_what_is_there_and_leads_to_its_section_of_the_runbook() -> None:
    page = ROOT / "docs" / "how-to" / "runbook.md"
    names = [rule["alert"] for rule in ALERTS["rules"]]
    assert names == re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)
    for rule in ALERTS["rules"]:
        assert rule["annotations"]["runbook"] == f"{page.relative_to(ROOT)}#{rule['alert'].lower()}"
        assert without_series(set(re.findall(r"umbel_\w+", rule["expr"]))) <= THERE, rule["alert"]


def test_the_runbook_asks_for_what_is_there() -> None:
    written = (ROOT / "docs" / "how-to" / "runbook.md").read_text()
    assert without_series(set(re.findall(r"\bumbel_\w+", written))) <= THERE

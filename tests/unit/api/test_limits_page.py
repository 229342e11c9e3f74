"""docs/reference/limits.md says what the code does."""

import re
from pathlib import Path

import pytest
from umbel_files.names import LONGEST_LABEL, LONGEST_NAME

from api import idempotency, identify, images, search, search_batch, signed_urls
from umbel.base.settings import Settings
from umbel.base.storable import DEEPEST, LONGEST_OBJECT
from umbel.gallery import filters
from umbel.insights import neighbor_graph
from umbel.insights.selection import MOST_RESULTS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "limits.md").read_text()
UNITS = {"MiB": 2**20, "GiB": 2**30, "million": 10**6}


@pytest.mark.parametrize(
    ("about", "numbers"),
    [
        ("label", [LONGEST_LABEL]),
        ("name of a file", [LONGEST_NAME]),
        ("metadata", [LONGEST_OBJECT, DEEPEST]),
        ("`Idempotency-Key`", [idempotency.LONGEST_KEY]),
        (
            "filter",
            [filters.MOST_TERMS, filters.LONGEST_FILTER, filters.MOST_WORDS, filters.MOST_VALUES],
        ),
        ("examples of a search (`positive`, `negative`)", [search.MOST_EXAMPLES]),
        ("pictures of one subject in `identify`", [identify.MOST_IMAGES]),
        ("pictures of one `POST /v1/embed`", [search.MOST_PICTURES]),
        ("images of one choice of representatives, or of what to label next", [neighbor_graph.MOST]),
        ("pictures of one thing in a search (`file`, `images`)", [search.MOST_PICTURES]),
        ("results on all pages of a search", [MOST_RESULTS]),
        ("searches of a batch", [search_batch.MOST_QUERIES]),
        ("hashes of one `POST /v1/images:check`", [images.MOST_HASHES]),
        ("images of one `POST /v1/images:sign`, and how long a URL holds", [signed_urls.MOST_SIGNED]),
    ],
)
def test_fixed_limits_are_those_of_the_code(about: str, numbers: list[int]) -> None:
    [row] = re.findall(rf"^\| {re.escape(about)} \| ([^|]*)\|", PAGE, re.MULTILINE)
    assert [int(found.replace(",", "")) for found in re.findall(r"\d[\d,]*\b", row)] == numbers


def test_limits_with_a_setting_are_its_default() -> None:
    rows = re.findall(
        r"^\| [^|]+\| ([^|`]*?)([\d,]+)(?: (KiB|MiB|GiB|million))?[^|`]*\| `UMBEL_(\w+)`", PAGE, re.MULTILINE
    )
    found = {name.lower(): int(number.replace(",", "")) * UNITS.get(unit, 1) for _, number, unit, name in rows}
    assert len(found) > 12
    defaults = {name: Settings.model_fields[name].default for name in found}
    defaults["auth_failure_limit"] = int(defaults["auth_failure_limit"].partition("/")[0])
    assert found == defaults

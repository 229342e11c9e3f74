"""The list of error codes, and what other pages say of them."""

import re
from pathlib import Path

from api.app import create_app
from api.errors_page import described
from umbel.base import errors

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]


def listed() -> set[tuple[str, str]]:
    """Statuses and codes."""
    return set(re.findall(r"^\| `(\d{3})` \| `(\w+)` \|", described(), re.MULTILINE))


def test_it_lists_what_there_is() -> None:
    assert (ROOT / "docs" / "errors.md").read_text() == described(), "python -m api.errors_page > docs/errors.md"


def test_every_error_is_in_it() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not errors.UmbelError}
    assert {kind.code for kind in kinds} <= {code for _, code in listed()}
    assert all(kind.__doc__ for kind in kinds)


def test_every_status_of_a_problem_is_in_it() -> None:
    paths = create_app().spec["paths"].values()
    answers = [answer for path in paths for operation in path.values() for answer in operation["responses"].items()]
    problems = {str(status) for status, answer in answers if "application/problem+json" in answer.get("content", {})}
    assert len(problems) > 5
    assert problems <= {status for status, _ in listed()}


def test_no_other_page_names_one_that_is_not_there() -> None:
    named = {found for page in PAGES for found in re.findall(r"`(\d{3}) ([a-z_]+)`", page.read_text())}
    assert ("503", "busy") in named
    assert named <= listed()

"""Commands against a running API: recall, the audit log, and what narrows a search."""

import json
import signal
import subprocess
import sys
from typing import Any
from uuid import UUID

import pytest

from tests.command_line import umbel_here
from tests.integration.factory import Factory, committed, unit
from tests.integration.test_server import Api
from tests.unit.cli.test_command_line import TAKING_CTRL_C

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def gallery() -> list[UUID]:
    def made(make: Factory) -> list[UUID]:
        version = make.version()
        return [make.image(label=label, vector=unit(n), version=version) for n, label in enumerate("aabbcc")]

    return committed(made)


@pytest.fixture
def umbel(server: Api) -> Any:
    def run(*arguments: str) -> Any:
        seen = umbel_here(*arguments, "--json", UMBEL_URL=f"http://127.0.0.1:{server.port}")
        assert seen.returncode == 0, seen.stderr
        return json.loads(seen.stdout)

    return run


def test_a_search_is_narrowed_by_labels_a_filter_and_a_distance(umbel: Any, gallery: list[UUID]) -> None:
    def labels(*options: str) -> list[str]:
        found = umbel("similar", str(gallery[0]), "--exact", *options)
        assert found["search"]["mode"] == "exact"
        return sorted(match["label"] for match in found["matches"])

    assert labels() == ["a", "b", "b", "c", "c"]
    assert labels("--label", "b", "--label", "c") == ["b", "b", "c", "c"]
    assert labels("--label", "b", "--label", "c", "--filter", '{"label": ["c"]}') == ["c", "c"]
    assert labels("--max-distance", "0") == []


def test_recall_is_measured_and_listed(umbel: Any, gallery: list[UUID]) -> None:
    measured = umbel("recall", "measure", "-k", "3", "--sample", "4")
    assert (measured["k"], measured["sample"], measured["collection"]) == (3, 4, None)
    assert umbel("recall", "list") == [measured]


def test_the_audit_log_is_listed_and_followed_until_ctrl_c(umbel: Any, server: Api, gallery: list[UUID]) -> None:
    umbel("recall", "measure", "--sample", "1")
    [first] = umbel("audit", "list", "--limit", "1")
    assert (first["actor"], first["action"]) == ("anonymous", "admin.measure")

    code = f"{TAKING_CTRL_C}; from cli.main import main; main()"
    asked = ["audit", "list", "--follow", "--limit", "1", "--json", "--url", f"http://127.0.0.1:{server.port}"]
    following = subprocess.Popen([sys.executable, "-P", "-c", code, *asked], stdout=-1, stderr=-1)
    assert following.stdout is not None
    assert json.loads(following.stdout.readline()) == first
    umbel("recall", "measure", "--sample", "1")
    assert json.loads(following.stdout.readline())["id"] > first["id"]
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=30)
    assert (following.returncode, err.splitlines()[-1]) == (130, b"umbel: Interrupted.")

"""What a process says, from its own loggers and from a library's, and what it does when nobody can write it down."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SAY = """
import logging, os, resource, structlog
from core.logging import configure_logging
from core.settings import Settings

configure_logging(Settings())
structlog.contextvars.bind_contextvars(request_id="r1")
structlog.get_logger().info("ours", picture=7)
logging.getLogger("library").warning("theirs")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger().exception("broken")
if os.environ.get("FULL"):
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    structlog.get_logger().info("unsaid")
    logging.getLogger("library").warning("unsaid")
print("lives")
"""


def said(log: Path, **environment: str) -> str:
    """What a process prints while it logs to a file."""
    with log.open("wb") as stderr:
        done = subprocess.run(
            [sys.executable, "-c", SAY], env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False
        )
    return done.stdout


@pytest.mark.parametrize("environment", [{}, {"UMBEL_LOG_JSON": "1"}], ids=["lines", "json"])
def test_own_and_foreign_lines_have_one_format(tmp_path: Path, environment: dict[str, str]) -> None:
    said(tmp_path / "log", **environment)
    lines = (tmp_path / "log").read_text().splitlines()
    if environment:
        ours, theirs, broken = map(json.loads, lines)
        assert (ours["event"], ours["picture"]) == ("ours", 7)
        assert (theirs["event"], theirs["level"]) == ("theirs", "warning")
        assert "ZeroDivisionError" in broken["exception"]
        assert {line["request_id"] for line in (ours, theirs, broken)} == {"r1"}
    else:
        assert "[info     ] ours" in lines[0] and "picture=7" in lines[0] and "request_id=r1" in lines[0]
        assert "[warning  ] theirs" in lines[1] and "request_id=r1" in lines[1]
        assert any("ZeroDivisionError" in line for line in lines)


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    assert said(tmp_path / "log", FULL="1") == "lives\n"
    assert "unsaid" not in (tmp_path / "log").read_text()

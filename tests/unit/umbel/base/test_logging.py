"""What a process says, from its own loggers and from a library's, and what it does when nobody can write it down."""

import json
import re
import subprocess
import sys
from pathlib import Path

SAY = """
import logging, os, resource, structlog
from umbel.base.logging import configure_logging
from umbel.base.settings import Settings

configure_logging(Settings())
structlog.contextvars.bind_contextvars(request_id="r1")
structlog.get_logger().info("ours", picture=7)
logging.getLogger("library").warning("theirs")
if "NAME" in os.environ:
    structlog.get_logger().info(os.environ["NAME"], name=os.environ["NAME"])
    logging.getLogger("library").warning(os.environ["NAME"])
try:
    raise ZeroDivisionError(os.environ.get("NAME", "zero"))
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


def test_own_and_foreign_lines_look_alike(tmp_path: Path) -> None:
    said(tmp_path / "log")
    ours, theirs, *traceback = (tmp_path / "log").read_text().splitlines()
    assert re.search(r"\[info     ] ours +picture=7 request_id=r1", ours)
    assert re.search(r"\[warning  ] theirs +request_id=r1", theirs)
    assert any("ZeroDivisionError" in line for line in traceback)


def test_lines_for_machines(tmp_path: Path) -> None:
    said(tmp_path / "log", UMBEL_LOG_JSON="1")
    ours, theirs, broken = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert (ours["event"], ours["picture"]) == ("ours", 7)
    assert (theirs["event"], theirs["level"]) == ("theirs", "warning")
    assert "ZeroDivisionError" in broken["exception"]
    assert {line["request_id"] for line in (ours, theirs, broken)} == {"r1"}


def test_names_neither_forge_lines_nor_steer_the_terminal(tmp_path: Path) -> None:
    said(tmp_path / "log", NAME="x\n2026-01-01 [info     ] forged\x1b[2J\u202e.jpg")
    log = (tmp_path / "log").read_text()
    assert log.count(r"x\n2026-01-01 [info     ] forged\x1b[2J\u202e.jpg") == 2  # the event of ours and theirs
    assert log.count(r"\x1b[2J") == 4
    # Of an exception each line is escaped for itself.
    assert log.count("\n2026-01-01") == 1
    assert re.search("[\x1b\u202e]", log) is None


def test_names_are_exact_for_machines(tmp_path: Path) -> None:
    name = "x\n\x1b[2J\u202e.jpg"
    said(tmp_path / "log", UMBEL_LOG_JSON="1", NAME=name)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["event"] for line in lines].count(name) == 2


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    assert said(tmp_path / "log", FULL="1") == "lives\n"
    assert "unsaid" not in (tmp_path / "log").read_text()

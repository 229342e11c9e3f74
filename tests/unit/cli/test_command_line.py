"""What a person meets at the command line: help, one-line errors, exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, main
from cli.main import umbel as commands
from ml.runtimes.choice import Measurement, installed, this_machine
from ml.runtimes.measuring import Timing
from ml.runtimes.setups import Setup
from tests.command_line import umbel_here


def umbel(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-P", "-m", "cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_help_lists_every_command_once_under_what_it_is_for() -> None:
    seen = umbel_here("--help")
    assert seen.returncode == 0
    titles = [line[:-1] for line in seen.stdout.splitlines() if re.fullmatch(r"\w+:", line) and line != "Options:"]
    assert titles == ["Run", "Use", "Models", "Operate"]
    listed = re.findall(r"^  (\S+)  +\S", seen.stdout.partition("Run:\n")[2], re.MULTILINE)
    assert listed == list(COMMANDS)


def test_help_does_not_wait_for_what_only_commands_need() -> None:
    asked = "import sys; from cli.main import umbel; umbel(['--help'], standalone_mode=False); print(*sys.modules)"
    seen = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    loaded = set(seen.stdout.split())
    assert "Operate:" in loaded
    assert loaded & {"sqlalchemy", "celery", "numpy", "torch"} == set()


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str) -> None:
    seen = CliRunner().invoke(commands, [command, "--help"])
    assert (seen.exit_code, seen.stderr) == (0, "")
    assert seen.stdout.startswith("Usage: ")


def test_the_version() -> None:
    assert umbel("--version").stdout == f"umbel {version('umbel')}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("import",),
        ("import", "/nowhere"),
        ("jobs", "show", "not-an-id"),
        ("models", "activate"),
        ("reindex", "--m", "16"),
        ("reindex", "--mode", "index", "--activate"),
        ("train", "--out", "models"),
        ("train", "/", "--from-collection", "garden", "--out", "models"),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    seen = umbel_here(*arguments)
    assert (seen.returncode, "Usage: " in seen.stderr) == (2, True)


def test_a_process_ends_as_its_command_does() -> None:
    seen = umbel("nonsense")
    assert (seen.returncode, seen.stdout) == (2, "")
    assert seen.stderr.endswith("Error: No such command 'nonsense'.\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "list"),
        ("similar", "01a209d2-1f04-7442-a1e3-d1864404c09e"),
        ("models", "list"),
        ("reindex",),
        ("train", "--from-collection", "garden", "--out", "models"),
    ],
)
def test_a_service_that_is_not_there_is_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    seen = umbel_here(*arguments, UMBEL_PORT="1", UMBEL_HOME=str(tmp_path))
    assert (seen.returncode, seen.stdout, seen.stderr.count("\n")) == (1, "", 1)
    assert seen.stderr.startswith("umbel: ")


def test_a_database_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    seen = umbel("db", "check", UMBEL_HOME=str(tmp_path))
    assert (seen.returncode, seen.stdout, seen.stderr.count("\n")) == (1, "", 1)
    assert seen.stderr.startswith("umbel: ")


@pytest.mark.parametrize("asked", [("--url", "http://127.0.0.1:2", "jobs", "list"), ("jobs", "list")])
def test_a_service_elsewhere_is_named_by_option_or_environment(asked: tuple[str, ...]) -> None:
    seen = umbel_here(*asked, UMBEL_URL="http://127.0.0.1:2")
    assert (seen.returncode, "http://127.0.0.1:2" in seen.stderr) == (1, True)


def test_ctrl_c_exits_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "invoke", lambda context: interrupted())
    monkeypatch.setattr(sys, "argv", ["umbel", "status"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert (exit_.value.code, capsys.readouterr().err.strip()) == (130, "umbel: Interrupted.")


def test_ctrl_c_is_no_traceback_even_while_modules_are_imported() -> None:
    begun = "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # ignored in the background
    code = f"{begun}; import cli; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(5)"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (seen.returncode, seen.stderr) == (-signal.SIGINT, "")


def test_a_bug_is_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "invoke", lambda context: 1 // 0)
    monkeypatch.setattr(sys, "argv", ["umbel", "status"])
    with pytest.raises(ZeroDivisionError):
        main()


def test_status_without_a_stack_says_so(tmp_path: Path) -> None:
    seen = umbel_here("status", UMBEL_PORT="1", UMBEL_HOME=str(tmp_path))
    assert (seen.returncode, "umbel up" in seen.stdout) == (1, True)


def test_status_shows_what_the_choice_of_a_runtime_rests_on(tmp_path: Path) -> None:
    setups = [Setup(runtime=one, precision="fp32", lanes=2, threads=2) for one in ("torch", "openvino")]
    timings = [Timing(setup=setup, per_second=rate, parity=1) for setup, rate in zip(setups, (95.4, None), strict=True)]
    measurement = Measurement(
        model="plates", weights_sha256="", preprocessing_hash="", machine=this_machine(), packages=installed(),
        batch_size=0, measured_at=datetime.now(UTC), calm=False, timings=timings,
    )  # fmt: skip
    for name, one in (("ours", measurement), ("other", measurement.model_copy(update={"machine": {"cpu": "other"}}))):
        kept = tmp_path / "models" / "runtimes" / f"{name}.json"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(one.model_dump_json())

    seen = umbel_here("status", UMBEL_PORT="1", UMBEL_HOME=str(tmp_path)).stdout
    told = json.loads(umbel_here("status", "--json", UMBEL_PORT="1", UMBEL_HOME=str(tmp_path)).stdout)

    assert "plates on this machine" in seen
    assert "busy" in seen
    assert re.search(r"● +torch +fp32 +2 +2 +95 +1.00000\n +openvino +fp32 +2 +2 +- ", seen)
    assert [one["per_second"] for runtime in told["runtimes"] for one in runtime["timings"]] == [95.4, None]


def test_a_setting_that_cannot_be_is_one_line() -> None:
    seen = umbel_here("status", UMBEL_PORT="many")
    assert (seen.returncode, seen.stderr.count("\n")) == (1, 1)
    assert "UMBEL_PORT" in seen.stderr

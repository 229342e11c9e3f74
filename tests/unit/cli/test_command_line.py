"""What a person meets at the command line: help, one-line errors, exit codes."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from cli.keys import SCOPES
from cli.main import COMMANDS, main
from cli.main import umbel as commands
from ml.runtimes.choice import Measurement, installed, this_machine
from ml.runtimes.measuring import Timing
from ml.runtimes.setups import Setup
from tests.command_line import umbel_here
from umbel.access.keys import KeyScope


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


def test_help_and_completion_wait_for_nothing_that_only_commands_need() -> None:
    asked = """
import sys
from cli.main import COMMANDS, umbel
umbel(["--help"], standalone_mode=False)
for name in COMMANDS:
    umbel.get_command(None, name)
    loaded = {module.partition(".")[0] for module in sys.modules}
    print("LOADED", name, *loaded & set(sys.argv[1].split()))
"""
    heavy = "sqlalchemy alembic celery numpy torch openvino PIL psycopg redis obstore pydantic httpx rich structlog"
    seen = subprocess.run([sys.executable, "-c", asked, heavy], capture_output=True, text=True, check=True)
    loaded = [line.split()[1:] for line in seen.stdout.splitlines() if line.startswith("LOADED")]
    assert loaded == [[name] for name in COMMANDS]


def test_status_runs_where_the_packages_of_the_model_are_not_installed(tmp_path: Path) -> None:
    asked = """
import sys
sys.modules.update(dict.fromkeys(sys.argv.pop(1).split()))
from cli.main import main
main()
"""
    absent = "torch torchvision timm safetensors openvino sklearn threadpoolctl openTSNE matplotlib"
    here = os.environ | {"UMBEL_HOME": str(tmp_path), "UMBEL_URL": "http://127.0.0.1:1"}
    asking = [sys.executable, "-c", asked, absent, "status", "--json"]
    seen = subprocess.run(asking, capture_output=True, text=True, check=False, env=here)
    assert (seen.returncode, seen.stderr, json.loads(seen.stdout)["runtimes"]) == (1, "", [])


@pytest.mark.parametrize(
    ("line", "completed"),
    [("umbel dup", "duplicates"), ("umbel jobs ca", "cancel"), ("umbel jobs list --st", "--status")],
)
def test_bash_completes_commands_and_options(line: str, completed: str, tmp_path: Path) -> None:
    asked = """
eval "$(umbel completion bash)"
read -ra COMP_WORDS <<< "$1"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_umbel_completion umbel; echo "${COMPREPLY[@]}"
"""
    here = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "UMBEL_HOME": str(tmp_path)}
    bash = ["bash", "--norc", "-c", asked, "bash", line]
    seen = subprocess.run(bash, capture_output=True, text=True, check=False, env={**os.environ, **here})
    assert (seen.stdout, seen.stderr) == (f"{completed}\n", "")


def leaves(command: click.Command = commands, *path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its name: `jobs list`."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    for name in command.list_commands(click.Context(command)):
        below = command.get_command(click.Context(command), name)
        assert below is not None
        yield from leaves(below, *path, name)


LEAVES = dict(leaves())
# They run until told to stop, and log; or print what a shell reads.
NOT_FOR_MACHINES = {"api", "worker", "scheduler", "completion"}


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_has_help_and_json_and_takes_a_url(name: str) -> None:
    seen = umbel_here(*name.split(), "--help")
    assert (seen.returncode, seen.stderr) == (0, "")
    assert seen.stdout.startswith(f"Usage: umbel {name} ")
    known = {flag for one in LEAVES[name].params for flag in one.opts}
    assert ("--json" in known) == (name not in NOT_FOR_MACHINES)
    assert "--url" in known


def examples(text: str) -> list[list[str]]:
    """The words of each `umbel …` in a help text, up to a redirection or the two spaces before what it does."""
    lines = [line.strip() for line in re.sub(r"\\\n\s*", "", text).splitlines()]
    return [shlex.split(re.split(r"  | > ", line)[0])[1:] for line in lines if line.startswith("umbel ")]


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_teaches_with_examples_that_parse(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(click.Command, "invoke", lambda self, context: None)
    monkeypatch.setattr(click.Path, "convert", lambda self, value, *_: Path(value))  # the files are not here
    found = examples(LEAVES[name].help or "")
    assert any(words[: len(name.split())] == name.split() for words in found)
    for words in found:
        seen = umbel_here(*words, cwd=tmp_path)
        assert (seen.returncode, seen.stderr) == (0, ""), words


def test_the_examples_of_groups_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Command, "invoke", lambda self, context: None)
    monkeypatch.setattr(click.Path, "convert", lambda self, value, *_: Path(value))
    for group in (commands, *(commands.get_command(click.Context(commands), name) for name in COMMANDS)):
        for words in examples(group.help or "") if isinstance(group, click.Group) else ():
            seen = umbel_here(*words)
            assert (seen.returncode, seen.stderr) == (0, ""), words


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
    ("arguments", "ending"),
    [
        (("similr",), "Error: No such command 'similr'. Did you mean 'umbel similar'?\n"),
        (("purge",), "Error: No such command 'purge'. Did you mean 'umbel images purge'?\n"),
        (("keys", "create", "--name", "me"), "Choose from: read, upload, write, admin\n"),
        (("models",), "                of COLLECTION, or of all collections.\n"),  # the help, no sentence of it cut
    ],
)
def test_wrong_usage_is_told_what_was_meant(arguments: tuple[str, ...], ending: str) -> None:
    seen = umbel_here(*arguments)
    assert (seen.returncode, seen.stdout) == (2, "")
    assert seen.stderr.endswith(ending)
    assert "Error: Usage" not in seen.stderr


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


@pytest.mark.direct
def test_a_database_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    seen = umbel("db", "check", UMBEL_HOME=str(tmp_path))
    assert (seen.returncode, seen.stdout, seen.stderr.count("\n")) == (1, "", 1)
    assert seen.stderr.startswith("umbel: ")


ELSEWHERE = ("--url", "http://127.0.0.1:2")


@pytest.mark.parametrize("asked", [(*ELSEWHERE, "jobs", "list"), ("jobs", "list", *ELSEWHERE), ("jobs", "list")])
def test_a_service_elsewhere_is_named_by_option_or_environment(asked: tuple[str, ...]) -> None:
    seen = umbel_here(*asked, UMBEL_URL="http://127.0.0.1:2")
    assert (seen.returncode, "http://127.0.0.1:2" in seen.stderr) == (1, True)


def test_the_scopes_of_keys_are_those_of_the_service() -> None:
    assert list(map(str, KeyScope)) == list(SCOPES)


def test_every_command_that_loses_something_has_yes() -> None:
    losing = {
        name for name in LEAVES if name.split()[-1] in ("delete", "downgrade", "empty", "purge", "retire", "revoke")
    }
    assert losing >= {"collections delete", "keys revoke", "models retire", "db downgrade"}
    assert {name for name in losing if not any("--yes" in one.opts for one in LEAVES[name].params)} == set()


LOST = [("db", "downgrade", "base"), ("keys", "revoke", "k"), ("models", "retire", "m"), ("collections", "delete", "c")]


@pytest.mark.parametrize("arguments", LOST)
def test_what_loses_something_asks_machines_for_yes_and_people_before_it_is_done(arguments: tuple[str, ...]) -> None:
    seen = umbel_here(*arguments, "--json", UMBEL_URL="http://127.0.0.1:2")
    assert (seen.returncode, "--yes" in seen.stderr) == (2, True)
    if arguments[0] != "collections":  # asks with a number of pictures, so the service first
        seen = umbel_here(*arguments, UMBEL_URL="http://127.0.0.1:2")
        assert (seen.returncode, "nothing was done" in seen.stderr) == (1, True)


# A process that a shell began in the background ignores it.
TAKING_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


def test_ctrl_c_exits_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "invoke", lambda context: interrupted())
    monkeypatch.setattr(sys, "argv", ["umbel", "status"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert (exit_.value.code, capsys.readouterr().err.strip()) == (130, "umbel: Interrupted.")


def test_ctrl_c_is_no_traceback_even_while_modules_are_imported() -> None:
    code = f"{TAKING_CTRL_C}; import os, signal, cli; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(5)"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (seen.returncode, seen.stderr) == (-signal.SIGINT, "")


def test_a_bug_is_one_line_and_a_traceback_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(commands, "invoke", lambda context: 1 // 0)
    seen = umbel_here("status")
    [kept] = tmp_path.glob("umbel-bug-*.txt")
    assert (seen.returncode, seen.stdout, seen.stderr.count("\n")) == (1, "", 1)
    assert "ZeroDivisionError" in seen.stderr
    assert str(kept) in seen.stderr
    assert kept.read_text().startswith("Traceback ")


@pytest.mark.parametrize("ending", [click.exceptions.Exit(3), SystemExit(3)])
def test_a_command_may_end_with_a_code(ending: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(context: click.Context) -> None:
        raise ending

    monkeypatch.setattr(commands, "invoke", end)
    assert umbel_here("status").returncode == 3


def test_ctrl_c_ends_a_question_with_130(tmp_path: Path) -> None:
    asked = [
        sys.executable,
        "-P",
        "-c",
        f"{TAKING_CTRL_C}; from cli.main import main; main()",
        "db",
        "downgrade",
        "base",
    ]
    begun = subprocess.Popen(asked, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert begun.stderr is not None
    assert begun.stderr.read(9) == b"Take the "  # it asks
    begun.send_signal(signal.SIGINT)
    err = begun.communicate(timeout=30)[1]
    assert (begun.returncode, err.splitlines()[-1]) == (130, b"umbel: Interrupted.")


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

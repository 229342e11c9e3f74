"""What commands print: names and labels are text, whatever they hold, on whatever terminal, pipe or disk."""

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from cli import bars, output
from umbel.base.escaping import escaped

ROOT = Path(__file__).parents[3]
HARMLESS = [
    "roll [/b].jpg",
    "[old] 1.jpg",
    ":rose:",
    "[bold]x[/bold]",
    "[link=http://x]y[/link]",
    "züri 花 👩‍🌾 e\u0301.jpg",
]
OBEYED = {
    "esc \x1b[2J\x1b]0;owned\x07.jpg": r"esc \x1b[2J\x1b]0;owned\x07.jpg",
    "csi \x9b31m": r"csi \x9b31m",
    "two\nlines\r\nand\ttab": r"two\nlines\r\nand\ttab",
    "paragraph\u2029\u2028line": r"paragraph\u2029\u2028line",
    "photo\u202egpj.exe": r"photo\u202egpj.exe",
    "\u2066isolate\u2069": r"\u2066isolate\u2069",
    "caf\udce9.jpg": r"caf\xe9.jpg",
    "half \ud83d": r"half \ud83d",
    "nul \0 del \x7f": r"nul \x00 del \x7f",
}
SHOWN = {**{name: name for name in HARMLESS}, **OBEYED}

# The only calls and names that reach a terminal. cli.output is the one place that may use them.
PRINTING = {"echo", "secho", "echo_via_pager", "style", "confirm", "prompt", "print", "print_exception", "write_line"}
DRAWING = {"Console", "Table", "Panel", "Text", "Status", "Live", "Prompt", "Confirm", "print", "rprint", "input"}


def printed_past_it(source: str) -> list[str]:
    """The calls that print without cli.output."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        stream = isinstance(called, ast.Attribute) and ast.unparse(called.value) in ("sys.stdout", "sys.stderr")
        if stream and called.attr not in ("isatty", "flush"):
            found.append(ast.unparse(called))
        if isinstance(called, ast.Attribute) and called.attr in PRINTING:
            found.append(ast.unparse(called))
        if isinstance(called, ast.Name) and called.id in DRAWING:
            found.append(called.id)
    return found


def test_nothing_is_printed_around_the_one_place() -> None:
    sources = [path for path in (ROOT / "cli").rglob("*.py") if path.name not in ("output.py", "bars.py")]
    assert len(sources) > 25
    found = {path.name: printed_past_it(path.read_text()) for path in sources}
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize("call", ["click.echo(x)", "print(x)", "console.print(x)", "Table()", "sys.stdout.write(x)"])
def test_what_prints_around_it_would_be_found(call: str) -> None:
    assert printed_past_it(call)


@pytest.mark.parametrize("name", SHOWN)
def test_names_are_shown_as_they_are_and_never_obeyed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.table(name, ("picture", "label"), [(name, name)])
    output.say(name)
    output.say(name, err=True)
    out, err = capsys.readouterr()
    assert (out.count(SHOWN[name]), err) == (4, SHOWN[name] + "\n")


@pytest.mark.parametrize("name", SHOWN)
def test_progress_spinner_and_lines_above_them_obey_no_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=500, color_system=None, markup=False, emoji=False)
    monkeypatch.setattr(bars, "Console", lambda **_: terminal)
    with output.progress() as shown:
        shown.add_task(f"Uploading {name}", total=1, completed=1, note=name)
        bars.say_above(shown, name)
    with bars.Spinner(name, quiet=False) as spinner:
        spinner.update(name)
    seen = screen.getvalue()
    assert seen.count(SHOWN[name]) >= 4
    if name in OBEYED:
        assert name not in seen


@pytest.mark.parametrize("name", SHOWN)
def test_json_is_exact(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"name": name})
    assert json.loads(capsys.readouterr().out) == {"name": name}


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_shown_is_one_line_that_any_stream_can_write(name: str) -> None:
    assert len(escaped(name).splitlines()) == 1
    escaped(name).encode()


def test_no_line_of_a_pipe_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    label, reason = "a label " * 30, "a reason " * 30
    output.table(None, ("id", "label", "reason"), [("x" * 36, label, reason)])
    assert f"{label}" in capsys.readouterr().out


def test_data_for_machines_is_exact_in_a_file_and_harmless_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    text = "name,reason\r\nesc \x1b[2J.jpg,x\r\n"
    file, terminal = io.StringIO(newline=""), Terminal()
    output.write_data(file, text)
    output.write_data(terminal, text)
    assert file.getvalue() == text
    assert terminal.getvalue() == "name,reason\nesc \\x1b[2J.jpg,x\n"


def umbel(*arguments: str, stdout: int = subprocess.PIPE, **variables: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-P", "-m", "cli.main", *arguments]
    environment = {**os.environ, "UMBEL_URL": "http://127.0.0.1:1", **variables}
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False, env=environment)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_cannot_be_encoded_is_replaced(encoding: str, tmp_path: Path) -> None:
    seen = umbel("status", UMBEL_HOME=str(tmp_path / "garden 花"), PYTHONIOENCODING=encoding)
    assert (seen.returncode, seen.stderr) == (1, b"")
    assert b"garden ?" in seen.stdout


def test_a_locale_without_unicode_ends_no_command(tmp_path: Path) -> None:
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    seen = umbel("status", UMBEL_HOME=str(tmp_path / "garden 花"), **locale)
    assert (seen.returncode, seen.stderr) == (1, b"")
    assert seen.stdout.isascii()


def test_a_closed_pipe_ends_a_command_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        seen = umbel("status", stdout=writing)
    finally:
        os.close(writing)
    assert (seen.returncode, seen.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_below_stdout_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        seen = umbel("status", stdout=full.fileno())
    assert (seen.returncode, seen.stderr) == (1, b"umbel: No space left on device\n")

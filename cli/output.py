"""All that commands print goes through here: lines, tables, progress bars, questions, errors and JSON.

Names, labels and errors hold what users and files hold: nothing of it is markup, and no terminal obeys it.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from io import TextIOWrapper
from typing import IO, Any, TypeVar

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.table import Table
from rich.text import Text
from umbel_client import Umbel

from stack.state import url
from umbel.base.escaping import escaped
from umbel.base.settings import settings

SKIPPED = 20  # files named one by one
UNLIMITED = 10_000  # columns of a pipe: what reads it need not put words together again

F = TypeVar("F", bound=Callable[..., Any])


def replace_unencodable() -> None:
    """Let what stdout and stderr cannot encode (LANG=C, latin-1) come out as ? instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def let_go_of_stdout() -> None:
    """Write what is left; where it cannot be written, drop it, or Python would try again and print a traceback."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")(command)


def api_url() -> str:
    """The address of the API that --url or UMBEL_URL name; else that of this machine's stack."""
    context = click.get_current_context(silent=True)
    given: str | None = context.find_object(str) if context else None
    return given or url(settings())


def api_client(at: str | None = None) -> Umbel:
    """A client of the API at this address. at: unset, `api_url()`."""
    key = settings().key
    return Umbel(at or api_url(), key=key.get_secret_value() if key else None)


def say(line: object = "", *, bold: bool = False, err: bool = False) -> None:
    """Print one line. err: on stderr."""
    shown = escaped(line)
    # The stream is named, since click writes UTF-8 where stdout is said to be ASCII.
    click.echo(click.style(shown, bold=True) if bold else shown, file=sys.stderr if err else sys.stdout)


def complain(text: str) -> None:
    """Print an error, in one line on stderr."""
    say(f"umbel: {' '.join(text.split())}", err=True)


def confirm(question: str) -> None:
    """Ask a question. Raises click.Abort unless the answer is yes."""
    click.confirm(escaped(question), abort=True)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def print_event(text: str, at: str) -> None:
    """Print one event as a line of JSON."""
    click.echo(json.dumps({"at": at, "event": text}))


def write_data(file: IO[str], text: str) -> None:
    """Write lines for machines, such as CSV: as they are, unless a terminal would obey them."""
    lines = text.splitlines(keepends=True) if not file.isatty() else [f"{escaped(one)}\n" for one in text.splitlines()]
    file.writelines(lines)


def table(title: str | None, columns: Iterable[str], rows: Iterable[Iterable[object]], *, right: str = "") -> None:
    """Print a table. right: the columns, by name and separated by spaces, that hold numbers."""
    if title:
        say(title, bold=True)
    grid = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 1))
    for column in columns:
        prose = column in ("reason", "picture")  # other columns do not wrap: ids are there to be copied
        grid.add_column(
            Text(escaped(column)),
            justify="right" if column in right.split() else "left",
            overflow="fold" if prose else "ellipsis",
            no_wrap=not prose,
        )
    for row in rows:
        grid.add_row(*(Text("" if cell is None else escaped(cell)) for cell in row))
    width = None if sys.stdout and sys.stdout.isatty() else UNLIMITED
    Console(markup=False, emoji=False, highlight=False, width=width).print(grid)


def local_time(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def skipped_lines(skipped: Sequence[tuple[object, str]]) -> Iterator[str]:
    """Lines about files that could not be read, (path, reason): the first ones by name, then how many more."""
    for path, reason in skipped[:SKIPPED]:
        yield f"Skipped {path}: {reason}"
    if len(skipped) > SKIPPED:
        yield f"… and {len(skipped) - SKIPPED:,} more files skipped."


class Words(ProgressColumn):
    """A task's description or one of its fields, as it is."""

    def __init__(self, of: Callable[[Task], object]) -> None:
        super().__init__()
        self._of = of

    def render(self, task: Task) -> Text:
        return Text(escaped(self._of(task)))


def progress(*, quiet: bool = False) -> Progress:
    """Progress bars on stderr; none with --json. Each task has a `note`."""
    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        Words(lambda task: task.description),
        BarColumn(),
        MofNCompleteColumn(),
        Words(lambda task: task.fields["note"]),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True, quiet=quiet, markup=False, emoji=False),
        disable=quiet,
    )


def say_above(bars: Progress, line: str) -> None:
    """Print one line above the progress bars, and where they go."""
    bars.console.print(Text(escaped(line)), highlight=False)


class Spinner:
    """A spinner on stderr, so that stdout holds the result alone; none for machines."""

    def __init__(self, line: str, *, quiet: bool) -> None:
        self._status = Status(Text(escaped(line)), console=Console(stderr=True, quiet=quiet))

    def __enter__(self) -> "Spinner":
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def update(self, line: str) -> None:
        self._status.update(Text(escaped(line)))

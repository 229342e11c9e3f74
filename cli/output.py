"""All that commands print goes through here: lines, tables, progress bars, questions, errors and JSON.

Names, labels and errors hold what users and files hold: nothing of it is markup, and no terminal obeys it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import TextIOWrapper
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from cli.config import settings
from umbel.base.escaping import escaped

if TYPE_CHECKING:  # help and completion need neither
    from datetime import datetime

    from rich.progress import Progress
    from umbel_client import Umbel

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
    if given:
        return given
    from stack.state import url

    return url(settings())


def api_client(at: str | None = None) -> Umbel:
    """A client of the API at this address. at: unset, `api_url()`."""
    from umbel_client import Umbel

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


def yes_option(command: F) -> F:
    """The option --yes of a command that `confirm` asks for."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(command)


def confirm(question: str | Callable[[], str], *, yes: bool, as_json: bool) -> None:
    """Ask before something is lost, unless --yes was given.

    question: or what makes it, called only to ask. Raises click.Abort unless the answer is yes, UsageError with --json.
    """
    if yes:
        return
    if as_json:
        raise click.UsageError("--json asks nothing: confirm with --yes.")
    click.confirm(escaped(question if isinstance(question, str) else question()), abort=True, err=True)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def print_json_line(value: Any) -> None:
    """Print one of many values, as a line of JSON that who reads it gets at once."""
    click.echo(json.dumps(value, default=str))


def write_data(file: IO[str], text: str) -> None:
    """Write lines for machines, such as CSV: as they are, unless a terminal would obey them."""
    lines = text.splitlines(keepends=True) if not file.isatty() else [f"{escaped(one)}\n" for one in text.splitlines()]
    file.writelines(lines)


def table(title: str | None, columns: Iterable[str], rows: Iterable[Iterable[object]], *, right: str = "") -> None:
    """Print a table. right: the columns, by name and separated by spaces, that hold numbers."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

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


def progress(*, quiet: bool = False) -> Progress:
    """Progress bars on stderr; none with --json. Each task has a `note`."""
    from cli.bars import bars

    return bars(quiet=quiet)

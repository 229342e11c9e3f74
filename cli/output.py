"""Output that all commands share: tables, progress bars and JSON; and the client of the API."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar
from unicodedata import category

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from umbel_client import Umbel

from stack.state import url
from umbel.base.settings import settings

SKIPPED = 20  # files named one by one

F = TypeVar("F", bound=Callable[..., Any])


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


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def table(title: str | None, columns: Iterable[str], rows: Iterable[Iterable[object]], *, right: str = "") -> None:
    """Print a table. right: the columns, by name and separated by spaces, that hold numbers."""
    grid = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False, padding=(0, 1))
    for column in columns:
        prose = column in ("reason", "picture")  # other columns do not wrap: ids are there to be copied
        grid.add_column(
            column,
            justify="right" if column in right.split() else "left",
            overflow="fold" if prose else "ellipsis",
            no_wrap=not prose,
        )
    for row in rows:
        grid.add_row(*("" if cell is None else as_it_is(cell) for cell in row))
    Console(markup=False, emoji=False).print(grid)


def local_time(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def as_it_is(text: object) -> str:
    """The text with control characters, which a terminal would obey, as escapes."""
    return "".join(repr(c)[1:-1] if category(c) in ("Cc", "Cs") else c for c in str(text))


def skipped_lines(skipped: Sequence[tuple[object, str]]) -> Iterator[str]:
    """Lines about files that could not be read, (path, reason): the first ones by name, then how many more."""
    for path, reason in skipped[:SKIPPED]:
        yield f"Skipped {path}: {reason}"
    if len(skipped) > SKIPPED:
        yield f"… and {len(skipped) - SKIPPED:,} more files skipped."


def progress(*, quiet: bool = False) -> Progress:
    """Progress bars on stderr; none in a pipe or with --json."""
    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True, quiet=quiet, markup=False, emoji=False),
        disable=quiet,
    )

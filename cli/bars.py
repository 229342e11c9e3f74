"""Progress bars and spinners on stderr, so that stdout holds the result alone. Names in them are no markup."""

from __future__ import annotations

from collections.abc import Callable

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
from rich.text import Text

from umbel.base.escaping import escaped


class Words(ProgressColumn):
    """A task's description or one of its fields, as it is."""

    def __init__(self, of: Callable[[Task], object]) -> None:
        super().__init__()
        self._of = of

    def render(self, task: Task) -> Text:
        return Text(escaped(self._of(task)))


class Count(MofNCompleteColumn):
    """How many of how many; nothing for what is not counted."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.total or task.completed else Text("")


def bars(*, quiet: bool) -> Progress:
    """Progress bars. quiet: none. Each task has a `note`."""
    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        Words(lambda task: task.description),
        BarColumn(),
        Count(),
        Words(lambda task: task.fields["note"]),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True, quiet=quiet, markup=False, emoji=False),
        disable=quiet,
    )


def say_above(shown: Progress, line: str) -> None:
    """Print one line above the progress bars, and where they go."""
    shown.console.print(Text(escaped(line)), highlight=False)


class Spinner:
    """A spinner. quiet: none."""

    def __init__(self, line: str, *, quiet: bool) -> None:
        self._status = Status(Text(escaped(line)), console=Console(stderr=True, quiet=quiet))

    def __enter__(self) -> Spinner:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def update(self, line: str) -> None:
        self._status.update(Text(escaped(line)))

"""`umbel reconcile`: compare ledger, blobs, embeddings and index, directly on the database and the blob store."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import click

from cli.config import settings
from cli.output import json_option, print_json, progress, say, table

if TYPE_CHECKING:
    from rich.progress import Progress

    from umbel.operations.reconciliation.context import Advance, Mismatches

SHOWN = 20  # examples of each kind


@click.command()
@click.option("--repair", is_flag=True, help="Repair what can be repaired.")
@click.option("--deep", is_flag=True, help="Also read every picture and compare its SHA-256.")
@json_option
def reconcile(repair: bool, deep: bool, as_json: bool) -> None:
    """Find where ledger, blobs, embeddings and index contradict one another.

    Needs only the database and the blob store, and is safe beside a running service. Exit 0 if nothing is wrong or all
    of it was repaired, else 1.

    \b
    umbel reconcile
    umbel reconcile --deep --repair
    """
    from umbel.base import schema

    schema.check(settings().direct_database)
    with progress(quiet=as_json) as bars:
        found = compare(bars, repair=repair, deep=deep)
    ok = all(kind.repaired == kind.found for kind in found)
    if as_json:
        print_json({"checks": [_described(kind) for kind in found], "ok": ok})
    else:
        _show(found, repair=repair)
    sys.exit(0 if ok else 1)


def compare(bars: Progress, *, repair: bool = False, deep: bool = False) -> list[Mismatches]:
    """The result of every check on this process's database and blob store, with a progress bar."""
    from umbel.base.blobs import blobs
    from umbel.base.database import transaction
    from umbel.jobs.wakeup import waker
    from umbel.operations import reconciliation
    from umbel.operations.reconciliation.context import Context

    watch = partial(bar, bars)
    context = Context(transaction, blobs(), waker(), settings(), watch, repair=repair, deep=deep)
    return reconciliation.reconcile(context)


@contextmanager
def bar(bars: Progress, doing: str, total: int | None) -> Iterator[Advance]:
    """A `umbel.operations.reconciliation.context.Watch` with a progress bar."""
    task = bars.add_task(doing, total=total, note="")
    yield lambda done: bars.update(task, advance=done)
    done = bars.tasks[bars.task_ids.index(task)].completed
    bars.update(task, total=done, completed=done)  # the total was an estimate: images come and go meanwhile


def _described(kind: Mismatches) -> dict[str, object]:
    fields = ("code", "what", "found", "repaired", "repairable", "remedy", "examples")
    return {field: getattr(kind, field) for field in fields} | {"left_out": kind.found - len(kind.examples)}


def _show(found: Sequence[Mismatches], *, repair: bool) -> None:
    table(None, ("check", "found", "repaired"), ((k.what, k.found, k.repaired) for k in found), right="found repaired")
    wrong = [kind for kind in found if kind.found]
    for kind in wrong:
        say()
        say(f"{kind.code}: {kind.what}. {_remedy(kind)}")
        for example in islice(kind.examples, SHOWN):
            say(f"  {example}")
        if kind.found > SHOWN:
            say(f"  … and {kind.found - SHOWN:,} more")
    if not wrong:
        say()
        say("Nothing is wrong.")
    elif not repair and any(kind.repairable for kind in wrong):
        say()
        say("`umbel reconcile --repair` repairs what can be repaired.")


def _remedy(kind: Mismatches) -> str:
    if not kind.repairable or kind.repaired:
        return kind.remedy
    return f"With --repair: {kind.remedy[0].lower()}{kind.remedy[1:]}"

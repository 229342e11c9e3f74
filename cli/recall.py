"""`umbel recall`: what share of the nearest images the index finds, measured on the service."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import click

from cli.output import api_client, json_option, local_time, print_json, progress, say, table

if TYPE_CHECKING:
    from umbel_client import Recall


@click.group()
def recall() -> None:
    """Measure what share of the nearest images the index finds, or list what was measured: docs/how-to/recall.md."""


@recall.command()
@click.option("-k", type=click.IntRange(1, 1000), default=10, show_default=True, help="Matches of each search.")
@click.option("--sample", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many searches.")
@click.option("--collection", help="Search within it.  [default: the whole gallery]")
@json_option
def measure(k: int, sample: int, collection: str | None, as_json: bool) -> None:
    """Search with stored vectors, through the index and exactly, for twenty seconds at most, and compare.

    \b
    umbel recall measure --sample 200
    umbel recall measure -k 50 --collection garden
    """
    with api_client() as api, progress(quiet=as_json) as bars:
        bars.add_task("Searching", total=None, note="")
        found = api.admin.measure_recall(k=k, sample=sample, collection=collection)
    if as_json:
        print_json(found.as_dict())
        return
    rows = ((one.ef_search, f"{one.recall:.4f}", f"{one.ms:.2f}") for one in found.steps)
    table(None, ("ef_search", "recall", "ms"), rows, right="ef_search recall ms")
    say(f"In use: ef_search {found.ef_search}, which finds {found.recall:.1%} of the {found.k} nearest.")
    say(f"A search takes {found.index_ms:.2f} ms through the index, {found.exact_ms:.2f} ms exactly.")


@recall.command("list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, at most.")
@json_option
def list_(limit: int, as_json: bool) -> None:
    """List the measurements, newest first.

    \b
    umbel recall list --limit 5
    """
    with api_client() as api:
        found = list(islice(api.admin.recalls(), limit))
    print_json([one.as_dict() for one in found]) if as_json else _show(found)


def _show(found: list[Recall]) -> None:
    rows = (
        (
            local_time(one.created_at),
            one.collection or "all",
            one.k,
            one.sample,
            one.ef_search,
            f"{one.recall:.4f}",
            f"{one.index_ms:.2f}",
            f"{one.exact_ms:.2f}",
            one.ef_for_99 or "none",
        )
        for one in found
    )
    columns = ("at", "collection", "k", "searches", "ef_search", "recall", "ms", "ms exactly", "ef for 0.99")
    table(None, columns, rows, right="k searches ef_search recall ms")

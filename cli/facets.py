"""`umbel facets`: how many pictures have each label, value of a metadata key, and so on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from cli.filters import filter_option
from cli.output import api_client, json_option, print_json, say, table

if TYPE_CHECKING:
    from umbel_client import Facets


@click.command()
@click.argument("by", default="label")
@click.option("--collection", help="Only pictures of this collection.")
@filter_option
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many values.")
@json_option
def facets(by: str, collection: str | None, asked: dict[str, Any] | None, limit: int, as_json: bool) -> None:
    """Count pictures BY label (unless told otherwise), collection, metadata.KEY, created_at.year, .month or .day.

    \b
    umbel facets label --collection garden
    umbel facets metadata.camera --label rose
    """
    with api_client() as api:
        found = api.facets(by, collection=collection, filter=asked, limit=limit)
    print_json(found.as_dict()) if as_json else _show(found)


def _show(found: Facets) -> None:
    if found.values:
        rows = ((_shown(one.value), f"{one.count:,}") for one in found.values)
        table(None, (found.by, "pictures"), rows, right="pictures")
    pictures = "1 picture" if found.images == 1 else f"{found.images:,} pictures"
    further = f", {found.further:,} further values" if found.further else ""
    missing = f", {found.missing:,} without a value" if found.missing else ""
    say(f"{pictures}{further}{missing}.")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

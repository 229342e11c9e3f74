"""`umbel duplicates`: pictures that are there more than once, and which of them to keep."""

from pathlib import Path, PurePath
from typing import Any

import click
from umbel_client import Duplicates, Umbel

from cli.comparison import MOST_ROWS, compare, say_how_complete, tile, write_rows
from cli.output import api_client, json_option, print_json, table
from ml.row_sheet import MOST_TILES, Row


@click.command()
@click.option("--collection", help="Only this collection; else every one, each within itself.")
@click.option("--max-distance", type=click.FloatRange(0, 2), help="Cosine distance of two pictures of a group.")
@click.option(
    "--min-pixel-similarity", type=click.FloatRange(0, 1), help="Of their pixels; 0: the distance alone decides."
)
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="Groups shown, newest first.")
@click.option("--compare/--no-compare", "do_compare", default=True, help="Compare first what was not compared yet.")
@click.option("--again", is_flag=True, help="Compare everything again.")
@click.option(
    "--picture", "image", type=click.Path(dir_okay=False, path_type=Path), help="Write a contact sheet (JPEG, PNG)."
)
@json_option
def duplicates(  # noqa: PLR0917 - click passes by name
    collection: str | None,
    max_distance: float | None,
    min_pixel_similarity: float | None,
    limit: int,
    do_compare: bool,
    again: bool,
    image: Path | None,
    as_json: bool,
) -> None:
    """Find near-duplicates: groups of pictures that are one picture, changed, with the one to keep."""
    if again and not do_compare:
        raise click.UsageError("--again compares, --no-compare does not.")
    filters: dict[str, Any] = {
        "max_distance": max_distance,
        "min_pixel_similarity": min_pixel_similarity,
        "limit": limit,
    }
    with api_client() as api:
        job = compare(api, collection=collection, again=again, quiet=as_json) if do_compare else None
        found = api.duplicates.page(collection=collection, **filters)
        if image:
            write_rows(_rows(api, found), image, title="Near-duplicates, the one to keep first")
        if as_json:
            print_json({**found.as_dict(), "job": job and job.as_dict()})
            return
        _show(found)
        say_how_complete(api, job, compared=found.compared, waiting=found.waiting)


def _show(found: Duplicates) -> None:
    rows = (
        (
            "" if place else number,
            one.image_id,
            f"{one.width}×{one.height}",
            f"{one.distance_to_keep:.3f}" if place else "keep",
            one.name,
        )
        for number, group in enumerate(found.items, 1)
        for place, one in enumerate(group.images)
    )
    if found.items:
        table(None, ("#", "image", "pixels", "", "picture"), rows, right="# pixels")
    groups = "1 group" if len(found.items) == 1 else f"{len(found.items)} groups"
    more = "; there are more, see --limit" if found.next_cursor else ""
    click.echo(f"{groups} of near-duplicates{more}." if found.items else "No near-duplicates.")


def _rows(api: Umbel, found: Duplicates) -> list[Row]:
    rows = []
    for number, group in enumerate(found.items[:MOST_ROWS], 1):
        tiles = [
            one_tile
            for one in group.images[:MOST_TILES]
            for one_tile in tile(
                api,
                one.image_id,
                f"{one.width} x {one.height}" + ("" if one.image_id == group.keep else f", {one.distance_to_keep:.3f}"),
                one.name and PurePath(one.name).name,
                agrees=True if one.image_id == group.keep else None,
            )
        ]
        rows.append(Row(f"{number}: {group.size} pictures in {group.collection}", tiles))
    return rows

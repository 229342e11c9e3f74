"""`umbel duplicates` and `umbel label-issues`: a comparison of all images, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import click

from cli.follow import follow, show_failures
from cli.output import api_client, json_option, print_json, progress, say, table
from cli.search import opened

if TYPE_CHECKING:
    from umbel_client import Duplicates, Job, LabelIssues, Umbel

    from ml.contact_sheet import Tile
    from ml.row_sheet import Row

MOST_ROWS = 40  # of a contact sheet

COMPARISON_OPTIONS = (
    click.option("--collection", help="Only this collection; else every one, each within itself."),
    click.option("--compare/--no-compare", "do_compare", default=True, help="Compare first what was not compared yet."),
    click.option("--again", is_flag=True, help="Compare everything again, with the labels as they are now."),
    click.option(
        "--picture", "image", type=click.Path(dir_okay=False, path_type=Path), help="Write a contact sheet (JPEG, PNG)."
    ),
    json_option,
)


def compares(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a command that compares before it lists."""
    for option in reversed(COMPARISON_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.option("--max-distance", type=click.FloatRange(0, 2), help="Cosine distance of two pictures of a group.")
@click.option(
    "--min-pixel-similarity", type=click.FloatRange(0, 1), help="Of their pixels; 0: the distance alone decides."
)
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="Groups shown, newest first.")
@compares
def duplicates(**options: Any) -> None:
    """Find near-duplicates: groups of pictures that are one picture, changed, with the one to keep.

    \b
    umbel duplicates --collection garden --picture duplicates.png
    umbel duplicates --max-distance 0.1 --limit 100
    """
    show_compared(
        lambda api, **page: api.duplicates.page(**page),
        _show_groups,
        _group_rows,
        "Near-duplicates, the one to keep first",
        **options,
    )


@click.command("label-issues")
@click.option("--min-probability", type=click.FloatRange(0, 1), help="Least probability that is listed. [default: 0.5]")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many, worst first.")
@compares
def label_issues(**options: Any) -> None:
    """Find labels that are probably wrong, with the label that the most similar pictures suggest.

    Set one right with PATCH /v1/images/{id}. After many corrections, --again asks the neighbors anew.

    \b
    umbel label-issues --collection garden --min-probability 0.8
    """
    title = "Probably wrong labels, with the most similar pictures"
    show_compared(lambda api, **page: api.label_issues.page(**page), _show_issues, _issue_rows, title, **options)


def show_compared(
    read: Callable[..., Any],
    show: Callable[[Any], None],
    rows: Callable[[Umbel, Any], list[Row]],
    title: str,
    *,
    collection: str | None,
    do_compare: bool,
    again: bool,
    image: Path | None,
    as_json: bool,
    **filters: Any,
) -> None:
    """Compare what is new, then show one page of what comparisons found: `read(api, collection=…, **filters)`."""
    if again and not do_compare:
        raise click.UsageError("--again compares, --no-compare does not.")
    with api_client() as api:
        job = _compare(api, collection=collection, again=again, quiet=as_json) if do_compare else None
        found = read(api, collection=collection, **filters)
        if image:
            _write_rows(rows(api, found), image, title=title)
        if as_json:
            print_json({**found.as_dict(), "job": job and job.as_dict()})
            return
        show(found)
        waiting = f"{found.waiting:,} have not been compared yet" if found.waiting else ""
        say(f"Of {found.compared:,} pictures compared{waiting and '; '}{waiting}.")
        if job:
            show_failures(api, job)


def _compare(api: Umbel, *, collection: str | None, again: bool, quiet: bool) -> Job | None:
    """The finished comparison of what is new; None where nothing was. Follows a comparison that already runs."""
    from umbel_client import Conflict

    with progress(quiet=quiet) as bars:
        try:
            begun = api.duplicates.compare(collection=collection, again=again)
        except Conflict:
            running = next((job for job in api.jobs.list(type="comparison") if not job.finished), None)
            if again or running is None:
                raise
            return follow(api, running, bars)
        return follow(api, begun.job(), bars) if begun else None


def _show_groups(found: Duplicates) -> None:
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
    say(f"{groups} of near-duplicates{more}." if found.items else "No near-duplicates.")


def _show_issues(found: LabelIssues) -> None:
    rows = ((f"{one.label_error_probability:.2f}", one.label, one.suggested_label, one.image_id) for one in found.items)
    if found.items:
        table(None, ("wrong", "label", "rather", "image"), rows, right="wrong")
    labels = "1 label is" if len(found.items) == 1 else f"{len(found.items)} labels are"
    more = "; there are more, see --limit" if found.next_cursor else ""
    say(f"{labels} probably wrong{more}." if found.items else "No label is probably wrong.")
    if not found.calibrated:
        say("The active model has no calibration: these are shares of the neighbors' votes, no probabilities.")


def _group_rows(api: Umbel, found: Duplicates) -> list[Row]:
    from ml.row_sheet import MOST_TILES, Row

    rows = []
    for number, group in enumerate(found.items[:MOST_ROWS], 1):
        tiles: list[Tile] = []
        for one in group.images[:MOST_TILES]:
            keep = one.image_id == group.keep
            caption = f"{one.width} x {one.height}" + ("" if keep else f", {one.distance_to_keep:.3f}")
            tiles += tile_of(api, one.image_id, caption, one.name and PurePath(one.name).name, agrees=keep or None)
        rows.append(Row(f"{number}: {group.size} pictures in {group.collection}", tiles))
    return rows


def _issue_rows(api: Umbel, found: LabelIssues) -> list[Row]:
    from ml.row_sheet import Row

    rows = []
    for one in found.items[:MOST_ROWS]:
        tiles = [*tile_of(api, one.image_id, one.label, one.name and PurePath(one.name).name, agrees=None)]
        for near in one.evidence:
            caption = f"{1 - near.distance:.3f}"
            tiles += tile_of(api, near.image_id, near.label, caption, agrees=near.label == one.suggested_label)
        rows.append(Row(f"{one.label}, rather {one.suggested_label}: {one.label_error_probability:.2f}", tiles))
    return rows


def tile_of(api: Umbel, image_id: Any, caption: str, detail: str | None, *, agrees: bool | None) -> Iterator[Tile]:
    """The tile of an image, if its thumbnail can be fetched."""
    from umbel_client import UmbelClientError

    from ml.contact_sheet import Tile

    with suppress(UmbelClientError):
        yield Tile(opened(api.images.thumbnail(image_id)), caption, detail, agrees=agrees, fit="contain")


def _write_rows(rows: Sequence[Row], path: Path, *, title: str) -> None:
    """Write rows of images: JPEG or PNG, as the path's suffix says."""
    from ml.row_sheet import row_sheet

    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"
    row_sheet(rows, title=title).save(path, kind)
    say(f"Contact sheet: {path}", err=True)

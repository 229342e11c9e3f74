"""`umbel outliers`, `representatives` and `label-next`: which pictures to look at first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

from cli.duplicates import MOST_ROWS, compares, show_compared, tile_of
from cli.filters import filter_option
from cli.output import say, table

if TYPE_CHECKING:
    from umbel_client import LabelNext, Outliers, Representatives, Umbel

    from ml.row_sheet import Row

limit_option = click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many.")


@click.command()
@limit_option
@filter_option
@compares
def outliers(asked: dict[str, Any] | None, **options: Any) -> None:
    """List the pictures that are least like anything else of their collection: what does not belong, or is rare.

    \b
    umbel outliers --collection garden --picture outliers.png
    umbel outliers --filter '{"label": ["rose"]}'
    """
    show_compared(
        lambda api, **page: api.curation.outliers_page(filter=asked, **page),
        _show_outliers,
        lambda api, found: _tiles(api, found.items, [f"{one.distance:.2f}" for one in found.items]),
        "Least like anything else",
        **options,
    )


@click.command()
@limit_option
@filter_option
@compares
def representatives(asked: dict[str, Any] | None, **options: Any) -> None:
    """List the few pictures that together stand best for all, the most typical first.

    \b
    umbel representatives --collection garden --limit 12 --picture garden.png
    """
    show_compared(
        lambda api, **page: api.curation.representatives(filter=asked, **page),
        _show_representatives,
        lambda api, found: _tiles(api, found.items, [f"for {one.stands_for:,}" for one in found.items]),
        "They stand for all",
        **options,
    )


@click.command("label-next")
@limit_option
@filter_option
@compares
def label_next(asked: dict[str, Any] | None, **options: Any) -> None:
    """List the pictures without a label that are most worth one, with the label that their neighbors suggest.

    It goes by the labels as they are now: set some (PATCH /v1/images/{id}, or on the page) and ask again.

    \b
    umbel label-next --collection garden --limit 50
    """
    show_compared(
        lambda api, **page: api.curation.label_next(filter=asked, **page),
        _show_suggestions,
        lambda api, found: _tiles(api, found.items, [one.suggested_label or "" for one in found.items]),
        "Most worth a label",
        **options,
    )


def _show_outliers(found: Outliers) -> None:
    rows = (
        (f"{one.distance:.3f}", one.times_usual and f"{one.times_usual:.1f}", one.assessment, one.image_id, one.label)
        for one in found.items
    )
    if found.items:
        table(None, ("distance", "times usual", "", "image", "label"), rows, right="distance times")
    else:
        say("No picture was compared that passes.")


def _show_representatives(found: Representatives) -> None:
    if found.items:
        rows = ((f"{one.stands_for:,}", one.image_id, one.label, one.name) for one in found.items)
        table(None, ("stands for", "image", "label", "picture"), rows, right="stands")
    say(f"{len(found.items):,} stand for {found.considered:,}, by a mean similarity of {found.coverage:.2f}.")


def _show_suggestions(found: LabelNext) -> None:
    if found.items:
        rows = (
            (f"{one.stands_for:,}", one.image_id, one.suggested_label, f"{one.confidence:.2f}", one.name)
            for one in found.items
        )
        table(None, ("tells of", "image", "perhaps", "sure", "picture"), rows, right="tells sure")
    say(f"{found.labelled:,} have a label, {found.unlabelled:,} have none.")


def _tiles(api: Umbel, items: Sequence[Any], captions: Sequence[str]) -> list[Row]:
    """Rows of pictures, for a contact sheet."""
    from ml.row_sheet import MOST_TILES, Row

    tiles = [
        tile
        for one, caption in zip(items, captions, strict=True)
        for tile in tile_of(api, one.image_id, caption, one.name and PurePath(one.name).name, agrees=None)
    ][: MOST_ROWS * MOST_TILES]
    return [Row(f"{at + 1} and on", tiles[at : at + MOST_TILES]) for at in range(0, len(tiles), MOST_TILES)]

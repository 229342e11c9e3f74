"""`umbel label-issues`: pictures whose neighbors say that their label is wrong."""

from pathlib import Path, PurePath

import click
from umbel_client import LabelIssues, Umbel

from cli.comparison import MOST_ROWS, compare, say_how_complete, tile, write_rows
from cli.output import api_client, json_option, print_json, table
from ml.contact_sheet import Tile
from ml.row_sheet import Row


@click.command("label-issues")
@click.option("--collection", help="Only this collection; else every one, each within itself.")
@click.option("--min-probability", type=click.FloatRange(0, 1), help="Least probability that is listed. [default: 0.5]")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many, worst first.")
@click.option("--compare/--no-compare", "do_compare", default=True, help="Compare first what was not compared yet.")
@click.option("--again", is_flag=True, help="Compare everything again, with the labels as they are now.")
@click.option(
    "--picture", "image", type=click.Path(dir_okay=False, path_type=Path), help="Write a contact sheet (JPEG, PNG)."
)
@json_option
def label_issues(  # noqa: PLR0917 - click passes by name
    collection: str | None,
    min_probability: float | None,
    limit: int,
    do_compare: bool,
    again: bool,
    image: Path | None,
    as_json: bool,
) -> None:
    """Find labels that are probably wrong, with the label that the most similar pictures suggest.

    Set one right with PATCH /v1/images/{id}. After many corrections, --again asks the neighbors anew.
    """
    if again and not do_compare:
        raise click.UsageError("--again compares, --no-compare does not.")
    with api_client() as api:
        job = compare(api, collection=collection, again=again, quiet=as_json) if do_compare else None
        found = api.label_issues.page(collection=collection, min_probability=min_probability, limit=limit)
        if image:
            write_rows(_rows(api, found), image, title="Doubtful labels, with the most similar pictures")
        if as_json:
            print_json({**found.as_dict(), "job": job and job.as_dict()})
            return
        _show(found)
        say_how_complete(api, job, compared=found.compared, waiting=found.waiting)


def _show(found: LabelIssues) -> None:
    rows = ((f"{one.label_error_probability:.2f}", one.label, one.suggested_label, one.image_id) for one in found.items)
    if found.items:
        table(None, ("wrong", "label", "rather", "image"), rows, right="wrong")
    doubtful = "1 doubtful label" if len(found.items) == 1 else f"{len(found.items)} doubtful labels"
    more = "; there are more, see --limit" if found.next_cursor else ""
    click.echo(f"{doubtful}{more}." if found.items else "No doubtful labels.")
    if not found.calibrated:
        click.echo("The active model has no calibration: doubts are shares of the neighbors' votes, no probabilities.")


def _rows(api: Umbel, found: LabelIssues) -> list[Row]:
    rows = []
    for one in found.items[:MOST_ROWS]:
        tiles: list[Tile] = list(tile(api, one.image_id, one.label, one.name and PurePath(one.name).name, agrees=None))
        for near in one.evidence:
            caption = f"{1 - near.distance:.3f}"
            tiles += tile(api, near.image_id, near.label, caption, agrees=near.label == one.suggested_label)
        rows.append(Row(f"{one.label}, rather {one.suggested_label}: {one.label_error_probability:.2f}", tiles))
    return rows

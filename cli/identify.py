"""`umbel identify`: what a picture shows, or that it is unknown."""

from pathlib import Path

import click
from umbel_client import Identified

from cli.output import api_client, json_option, print_json, table
from umbel.search.vote import MOST_IMAGES

SHOWN = 5


@click.command()
@click.argument(
    "images",
    metavar="PICTURES...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--collection", help="Let only the images of this collection vote.")
@json_option
def identify(images: tuple[Path, ...], collection: str | None, as_json: bool) -> None:
    """Say what PICTURES show: one picture, or up to five of the same subject.

    The labelled images of the gallery that are most similar vote. If no label is probable enough the answer is
    "unknown": the subject may be none of those that the gallery knows.
    """
    if len(images) > MOST_IMAGES:
        raise click.UsageError(f"At most {MOST_IMAGES} pictures of one subject can be given.")
    with api_client() as api:
        found = api.identify(images, collection=collection)
    if as_json:
        print_json(found.as_dict())
    else:
        _show(found)


def _show(found: Identified) -> None:
    rows = ((one.label, f"{one.score:.1%}", len(one.evidence), one.evidence[0]) for one in found.results[:SHOWN])
    table(None, ("label", "probability", "neighbors", "nearest"), rows, right="probability neighbors")
    if found.best is not None:
        click.echo(f"It is: {found.best}.")
    elif not found.results:
        click.echo("Unknown: no image in the gallery has a label.")
    else:
        click.echo(f"Unknown: no label reaches {found.threshold:.0%}, where this model can be trusted.")

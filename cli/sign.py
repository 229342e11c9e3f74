"""`umbel sign`: URLs of pictures that need no key, for a while."""

from datetime import timedelta
from uuid import UUID

import click

from cli.keys import Span
from cli.output import api_client, json_option, print_json, say


@click.command()
@click.argument("images", metavar="IMAGES...", nargs=-1, required=True, type=click.UUID)
@click.option(
    "--expires", type=Span(), default="1h", show_default=True, metavar="12h|7d|1w", help="How long; a week at most."
)
@click.option("--thumbnail", is_flag=True, help="Of the thumbnails, not of the pictures.")
@json_option
def sign(images: tuple[UUID, ...], expires: timedelta, thumbnail: bool, as_json: bool) -> None:
    """Print URLs of IMAGES, by their ids, that need no key until they expire.

    For `<img>` on other sites, say. They end early when the key in UMBEL_KEY is revoked. More: docs/how-to/keys.md.

    \b
    umbel sign 01a209d2-1f04-7442-a1e3-d1864404c09e --expires 7d --thumbnail
    """
    with api_client() as api:
        signed = api.images.sign(images, expires_in=int(expires.total_seconds()))
    if as_json:
        print_json([one.as_dict() for one in signed])
        return
    for one in signed:
        say(one.thumbnail if thumbnail else one.file)

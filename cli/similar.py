"""`umbel similar`: the pictures that look like this one."""

import io
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from PIL import Image
from umbel_client import SearchResult, Umbel

from cli.output import api_client, json_option, print_json, table
from ml.contact_sheet import Tile, contact_sheet
from umbel.base.image_rules import upright_rgb


@click.command()
@click.argument("file_or_id")
@click.option("-k", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many.")
@click.option("--collection", help="Search only this collection.")
@click.option(
    "--picture", "image", type=click.Path(dir_okay=False, path_type=Path), help="Write a contact sheet (PNG)."
)
@json_option
def similar(file_or_id: str, k: int, collection: str | None, image: Path | None, as_json: bool) -> None:
    """Find the pictures most similar to FILE_OR_ID: a picture file, or the id of an image in the gallery."""
    with api_client() as api:
        query, found = _search(api, file_or_id, k, collection)
        if image:
            write_sheet(api, query, found, image)
    if as_json:
        print_json(found.as_dict())
        return
    show_matches(found)
    if image:
        click.echo(f"Contact sheet: {image}")


def show_matches(found: SearchResult) -> None:
    """Print matches as a table."""
    rows = (
        (rank, f"{match.similarity:.3f}", match.label, match.image_id, match.collection)
        for rank, match in enumerate(found.matches, 1)
    )
    table(None, ("#", "similarity", "label", "image", "collection"), rows, right="# similarity")
    info = found.search
    click.echo(f"{info.returned} of {info.requested} asked for, {info.mode} search, {info.took_ms:.0f} ms.")


def write_sheet(api: Umbel, query: Image.Image, found: SearchResult, path: Path, *, label: str | None = None) -> None:
    """Write the query and its matches as one picture."""
    tiles = [
        Tile(_opened(api.images.thumbnail(match.image_id)), f"{match.similarity:.3f}", match.label)
        for match in found.matches
    ]
    sheet = contact_sheet(Tile(query, "query", label), tiles)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, "PNG")


def _search(api: Umbel, file_or_id: str, k: int, collection: str | None) -> tuple[Image.Image, SearchResult]:
    options: dict[str, Any] = {"collection": collection} if collection else {}
    file = Path(file_or_id).expanduser()
    if file.is_file():
        found = api.search(file, k=k, **options)
        return _opened(file.read_bytes()), found
    try:
        image_id = UUID(file_or_id)
    except ValueError as error:
        raise click.BadParameter(f"{file_or_id!r} is neither a file nor an image id.") from error
    return _opened(api.images.file(image_id)), api.images.similar(image_id, k=k, **options)


def _opened(data: bytes) -> Image.Image:
    return upright_rgb(Image.open(io.BytesIO(data)))

"""`umbel similar` and `umbel identify`: search with a picture, and name what it shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from cli.boxes import box_option
from cli.config import settings
from cli.filters import filter_option
from cli.output import api_client, json_option, print_json, say, table
from cli.pictures import content_of

if TYPE_CHECKING:
    from PIL import Image
    from umbel_client import Identified, Match, SearchOptions, SearchResult, Umbel

    from umbel.base.types import Box

SHOWN = 5  # labels
LARGEST_PAGE, MOST_RESULTS = 1_000, 10_000

Query = Callable[[], bytes]  # the picture that was searched with


@click.command()
@click.argument("files_or_id", metavar="FILE_OR_ID...", nargs=-1, required=True)
@click.option("-k", "--limit", type=click.IntRange(1, MOST_RESULTS), default=10, show_default=True, help="How many.")
@click.option("--collection", help="Search only this collection.")
@filter_option
@box_option
@click.option("--max-distance", type=click.FloatRange(0, 2), help="Cosine distance of the farthest match.")
@click.option("--exact", is_flag=True, default=None, help="Scan all pictures: nothing is missed, but it takes longer.")
@click.option("--collapse", is_flag=True, help="Of each group of near-duplicates only the most similar picture.")
@click.option("--group-by", metavar="label|metadata.KEY", help="The most similar picture of each label or value.")
@click.option("--diversity", type=click.FloatRange(0, 1), help="Up to 1: pictures that differ from each other.")
@click.option(
    "--picture", "image", type=click.Path(dir_okay=False, path_type=Path), help="Write a contact sheet (PNG)."
)
@json_option
def similar(
    files_or_id: tuple[str, ...],
    *,
    limit: int,
    collection: str | None,
    asked: dict[str, Any] | None,
    box: Box | None,
    max_distance: float | None,
    exact: bool | None,
    collapse: bool,
    group_by: str | None,
    diversity: float | None,
    image: Path | None,
    as_json: bool,
) -> None:
    """Find the pictures most similar to FILE_OR_ID: a picture file, several of one thing, or the id of an image in the
    gallery.

    \b
    umbel similar photo.jpg -k 5 --picture found.png
    umbel similar front.jpg back.jpg --collapse --limit 2000
    umbel similar photo.jpg --label rose --label tulip --max-distance 0.4
    umbel similar photo.jpg --box 0.5,0,0.5,1
    umbel similar photo.jpg --group-by metadata.camera
    umbel similar 01a209d2-1f04-7442-a1e3-d1864404c09e --collection garden --exact --diversity 0.3
    """
    if diversity and limit > LARGEST_PAGE:
        raise click.UsageError(f"With --diversity at most {LARGEST_PAGE:,} pictures are found.")
    with api_client() as api:
        options: SearchOptions = {
            "collection": collection,
            "filter": asked,
            "box": box,
            "max_distance": max_distance,
            "exact": exact,
            "collapse": "duplicates" if collapse else None,
            "group_by": group_by,
            "diversity": diversity,
        }
        query, found = _search(api, files_or_id, limit, options)
        print_json(found.as_dict()) if as_json else show_matches(found)
        if image:
            write_sheet(api, opened(query(), box), found, image)
            say(f"Contact sheet: {image}", err=as_json)


@click.command()
@click.argument(
    "images",
    metavar="PICTURES...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--collection", help="Let only the images of this collection vote.")
@filter_option
@box_option
@json_option
def identify(
    images: tuple[Path, ...], *, collection: str | None, asked: dict[str, Any] | None, box: Box | None, as_json: bool
) -> None:
    """Say what PICTURES show: one picture, or up to five of the same subject.

    The labelled images of the gallery that are most similar vote. If no label is probable enough the answer is
    "unknown": the subject may be none of those that the gallery knows.

    \b
    umbel identify photo.jpg
    umbel identify front.jpg side.jpg --collection garden
    umbel identify shelf.jpg --box 0.25,0.25,0.5,0.5
    """
    from umbel.search.vote import MOST_IMAGES

    if len(images) > MOST_IMAGES:
        raise click.UsageError(f"At most {MOST_IMAGES} pictures of one subject can be given.")
    with api_client() as api:
        found = api.identify([content_of(path) for path in images], collection=collection, filter=asked, box=box)
    print_json(found.as_dict()) if as_json else _show_labels(found)


def show_matches(found: SearchResult) -> None:
    """Print matches as a table."""
    grouped = any(match.group_size is not None for match in found.matches)
    rows = (
        (rank, f"{match.similarity:.3f}", match.label, match.image_id, match.collection, *_group(match, grouped))
        for rank, match in enumerate(found.matches, 1)
    )
    columns = ("#", "similarity", "label", "image", "collection", *(("images", "value") if grouped else ()))
    table(None, columns, rows, right="# similarity images")
    info = found.search
    more = "; there are more, see --limit" if found.next_cursor else ""
    say(f"{info.returned:,} of {info.requested:,} asked for, {info.mode} search, {info.took_ms:.0f} ms{more}.")


def _group(match: Match, grouped: bool) -> tuple[Any, ...]:
    if not grouped:
        return ()
    value = match.group_value
    return match.group_size, value if value is None or isinstance(value, str) else json.dumps(value)


def write_sheet(api: Umbel, query: Image.Image, found: SearchResult, path: Path, *, label: str | None = None) -> None:
    """Write the query and its matches as one picture."""
    from ml.contact_sheet import Tile, contact_sheet

    tiles = [
        Tile(opened(api.images.thumbnail(match.image_id)), f"{match.similarity:.3f}", match.label)
        for match in found.matches
    ]
    sheet = contact_sheet(Tile(query, "query", label), tiles)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, "PNG")


def _search(api: Umbel, files_or_id: Sequence[str], limit: int, options: SearchOptions) -> tuple[Query, SearchResult]:
    """How to get the first picture that was searched with, and all pages of the answer as one."""
    files = [Path(each) for each in files_or_id]
    if all(file.exists() and not file.is_dir() for file in files):
        pictures = [content_of(file) for file in files]
        pages = api.search_pages(pictures, limit=limit, page_size=LARGEST_PAGE, **options)
        return lambda: pictures[0], _all_pages(pages)
    if len(files) > 1:
        missing = next(name for name, file in zip(files_or_id, files, strict=True) if not file.is_file())
        raise click.BadParameter(f"{missing!r} is no file; of images in the gallery give one alone.")
    try:
        image_id = UUID(files_or_id[0])
    except ValueError as error:
        raise click.BadParameter(f"{files_or_id[0]!r} is neither a file nor an image id.") from error
    options["image_id"] = image_id
    pages = api.search_pages(limit=limit, page_size=LARGEST_PAGE, **options)
    return lambda: api.images.file(image_id), _all_pages(pages)


def _all_pages(pages: Iterable[SearchResult]) -> SearchResult:
    some = list(pages)
    matches = [match for page in some for match in page.matches]
    info = replace(
        some[0].search,
        requested=sum(page.search.requested for page in some),
        returned=len(matches),
        took_ms=sum(page.search.took_ms for page in some),
    )
    return replace(some[-1], matches=matches, search=info)


def opened(data: bytes, box: Box | None = None) -> Image.Image:
    """The picture in a user's own file or an answer of the API, or a part of it."""
    from umbel.decoding.images import decode

    return decode(data, settings(), box=box)


def _show_labels(found: Identified) -> None:
    rows = ((one.label, f"{one.score:.1%}", len(one.evidence), one.evidence[0]) for one in found.results[:SHOWN])
    score = "votes" if found.calibration.source == "none" else "probability"
    table(None, ("label", score, "neighbors", "nearest"), rows, right=f"{score} neighbors")
    if found.best is not None and found.unknown is None:
        say(f"Most like: {found.best}.")
    elif found.best is not None:
        say(f"It is: {found.best}.")
    elif not found.results:
        say("Unknown: no image in the gallery has a label.")
    else:
        say(f"Unknown: no label reaches {found.threshold:.0%}, from where on an answer is trusted.")
    if found.calibration.note:
        say(found.calibration.note)

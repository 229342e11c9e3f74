"""Comparing before listing, and showing pictures in rows: what `umbel duplicates` and `umbel label-issues` share."""

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import click
from PIL import Image
from umbel_client import ApiError, Job, Umbel, UmbelClientError

from cli.follow import follow, show_failures
from cli.output import progress
from ml.contact_sheet import Tile
from ml.row_sheet import Row, row_sheet
from umbel.base.image_rules import upright_rgb

T = TypeVar("T")

CONFLICT = 409
MOST_ROWS = 40  # of a picture


def compare(api: Umbel, *, collection: str | None, again: bool, quiet: bool) -> Job | None:
    """Have what is new compared, and wait; the job, None where nothing was new. One that is under way is awaited."""
    with progress(quiet=quiet) as bars:
        try:
            begun = api.duplicates.compare(collection=collection, again=again)
        except ApiError as error:
            running = next((job for job in api.jobs.list(type="comparison") if not job.finished), None)
            if error.status != CONFLICT or again or running is None:
                raise
            return follow(api, running, bars)
        return follow(api, begun.job(), bars) if begun else None


def say_how_complete(api: Umbel, job: Job | None, *, compared: int, waiting: int) -> None:
    """What the list speaks for."""
    click.echo(f"Of {compared:,} pictures compared." if not waiting else f"Of {compared:,} compared; {waiting:,} wait.")
    if job:
        show_failures(api, job)


def opened(api: Umbel, image_id: UUID) -> Image.Image | None:
    """An image's thumbnail; None where it cannot be had."""
    with suppress(UmbelClientError):
        return upright_rgb(Image.open(io.BytesIO(api.images.thumbnail(image_id))))
    return None


def tile(api: Umbel, image_id: UUID, caption: str, detail: str | None, *, agrees: bool | None) -> Iterator[Tile]:
    """The tile of an image, if it can be had."""
    image = opened(api, image_id)
    if image:
        yield Tile(image, caption, detail, agrees=agrees, fit="contain")


def write_rows(rows: Sequence[Row], path: Path, *, title: str) -> None:
    """Write rows of pictures: JPEG or PNG, as the path's suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"
    row_sheet(rows, title=title).save(path, kind)
    click.echo(f"Contact sheet: {path}", err=True)

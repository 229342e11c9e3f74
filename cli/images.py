"""`umbel images`: list, show, label, delete, restore, purge and download images."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.filters import filter_option
from cli.follow import followed, show_failures
from cli.output import api_client, confirm, json_option, print_json, say, table, yes_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from umbel_client import Image, TrashedImage, Umbel, Work

SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}

IDS = click.argument("ids", metavar="[IMAGES]...", nargs=-1, type=click.UUID)
COLLECTION = click.option("--collection", help="Only this collection.  [default: all]")
JOB = click.option("--job", "job_id", type=click.UUID, help="All that this job removed.")
LIMIT = click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, at most.")


@click.group()
def images() -> None:
    """Look at images, change and remove them. IMAGES are ids; what is removed can be restored for some days."""


@images.command("list")
@COLLECTION
@click.option("--external-id", help="Only the image with this id of your own.")
@filter_option
@click.option("--trash", is_flag=True, help="Of those that were removed.")
@LIMIT
@json_option
def list_(
    *,
    collection: str | None,
    external_id: str | None,
    asked: dict[str, Any] | None,
    trash: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List the newest images.

    \b
    umbel images list --collection garden --label rose
    umbel images list --trash
    """
    if external_id is not None:
        asked = {"all": [asked or {}, {"external_id": external_id}]}
    with api_client() as api:
        every: Iterator[Image | TrashedImage] = (api.trash if trash else api.images).list(
            collection=collection, filter=asked
        )
        found = list(islice(every, limit))
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    rows = [(one.image_id, one.collection, one.external_id, one.label, one.name) for one in found]
    table(None, ("image", "collection", "external id", "label", "name"), rows)


@images.command()
@click.argument("image_id", type=click.UUID)
@json_option
def show(image_id: UUID, as_json: bool) -> None:
    """Show all that is known of IMAGE_ID.

    \b
    umbel images show 01a209d2-1f04-7442-a1e3-d1864404c09e
    """
    with api_client() as api:
        image = api.images.get(image_id).as_dict()
    image.pop("vector", None)
    print_json(image) if as_json else table(None, ("", ""), ((name, value) for name, value in image.items()))


@images.command()
@IDS
@click.option("--set", "label", metavar="TEXT", help="The label that they get.")
@click.option("--clear", is_flag=True, help="They lose theirs.")
@COLLECTION
@filter_option
@json_option
def label(
    ids: tuple[UUID, ...],
    *,
    label: str | None,
    clear: bool,
    collection: str | None,
    asked: dict[str, Any] | None,
    as_json: bool,
) -> None:
    """Label IMAGES, or those that pass a filter.

    \b
    umbel images label --filter '{"name": {"prefix": "roses/"}}' --set rose
    """
    if (label is None) != clear:
        raise click.UsageError("Give --set or --clear.")
    chosen = _chosen(ids, asked, collection)
    _follow(lambda api: api.images.update_many(**chosen, label=label), as_json=as_json)


@images.command()
@IDS
@COLLECTION
@filter_option
@yes_option
@json_option
def delete(
    ids: tuple[UUID, ...], collection: str | None, asked: dict[str, Any] | None, yes: bool, as_json: bool
) -> None:
    """Remove IMAGES, or those that pass a filter. They can be restored for UMBEL_TRASH_DAYS.

    \b
    umbel images delete 01a209d2-1f04-7442-a1e3-d1864404c09e
    umbel images delete --filter '{"label": "draft"}' --yes
    """
    chosen = _chosen(ids, asked, collection)
    if asked is not None:
        confirm(lambda: _question(asked, collection), yes=yes, as_json=as_json)
    _follow(lambda api: api.images.delete_many(**chosen), as_json=as_json)


@images.command()
@IDS
@COLLECTION
@filter_option
@JOB
@json_option
def restore(
    ids: tuple[UUID, ...], *, collection: str | None, asked: dict[str, Any] | None, job_id: UUID | None, as_json: bool
) -> None:
    """Bring removed IMAGES back as they were.

    \b
    umbel images restore 01a209d2-1f04-7442-a1e3-d1864404c09e
    umbel images restore --job 01a209d2-2a11-7c3e-8f5b-4d1864404c09
    """
    chosen = _of_trash(ids, asked, job_id, collection)
    _follow(lambda api: api.trash.restore(**chosen), as_json=as_json)


@images.command()
@IDS
@COLLECTION
@filter_option
@JOB
@yes_option
@json_option
def purge(
    ids: tuple[UUID, ...],
    *,
    collection: str | None,
    asked: dict[str, Any] | None,
    job_id: UUID | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove IMAGES of the trash for ever, with their bytes; needs a key of the scope admin.

    \b
    umbel images purge 01a209d2-1f04-7442-a1e3-d1864404c09e
    umbel images purge --filter '{}' --yes
    """
    chosen = _of_trash(ids, asked, job_id, collection)
    confirm("Remove them for ever?", yes=yes, as_json=as_json)
    _follow(lambda api: api.trash.purge(**chosen), as_json=as_json)


@images.command()
@click.argument("ids", metavar="IMAGES...", nargs=-1, required=True, type=click.UUID)
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), default=".", help="A folder.  [default: .]")
@json_option
def download(ids: tuple[UUID, ...], into: Path, as_json: bool) -> None:
    """Write IMAGES into files called by their ids: upright, without EXIF and GPS.

    \b
    umbel images download 01a209d2-1f04-7442-a1e3-d1864404c09e --into pictures
    """
    into.mkdir(parents=True, exist_ok=True)
    written = []
    with api_client() as api:
        for image_id in ids:
            answer = api.images.open_file(image_id)
            path = into / f"{image_id}{SUFFIXES.get(answer.media_type, '')}"
            path.write_bytes(answer.data)
            written.append(str(path))
    print_json(written) if as_json else say("\n".join(written))


def _chosen(ids: tuple[UUID, ...], asked: dict[str, Any] | None, collection: str | None) -> dict[str, Any]:
    if bool(ids) == (asked is not None):
        raise click.UsageError("Give IMAGES or --filter.")
    return {"ids": list(ids) or None, "filter": asked, "collection": collection}


def _of_trash(
    ids: tuple[UUID, ...], asked: dict[str, Any] | None, job_id: UUID | None, collection: str | None
) -> dict[str, Any]:
    if bool(ids) + (asked is not None) + (job_id is not None) != 1:
        raise click.UsageError("Give IMAGES, --filter or --job.")
    return {"ids": list(ids) or None, "filter": asked, "job_id": job_id, "collection": collection}


def _question(asked: dict[str, Any], collection: str | None) -> str:
    with api_client() as api:
        return f"Remove {api.images.count(collection=collection, filter=asked):,} images?"


def _follow(begin: Callable[[Umbel], Work], *, as_json: bool) -> None:
    """Follow a job to its end; exit 1 unless all of it succeeded."""
    with api_client() as api:
        job = followed(api, begin(api).job(), quiet=as_json)
        if as_json:
            print_json(job.as_dict())
        else:
            say(f"{job.counts.indexed:,} of {job.counts.total:,} images: job {job.id}.")
            show_failures(api, job)
    if job.status != "succeeded":
        raise click.exceptions.Exit(1)

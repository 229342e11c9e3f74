"""`umbel collections`: list, create, limit, tile and delete collections."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from cli.follow import followed, wait_option
from cli.output import api_client, confirm, json_option, local_time, print_json, say, table, yes_option

if TYPE_CHECKING:
    from umbel_client import Collection, Job, Umbel

NO_LIMIT = -1


class Most(click.ParamType):
    """A number, or `none` for no limit."""

    name = "most"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "none":
            return NO_LIMIT
        if not (isinstance(value, str) and value.isdecimal()):
            self.fail(f"{value!r} is neither a number nor none.", param, ctx)
        return int(value)


MOST = Most()


@click.group()
def collections() -> None:
    """Separate galleries: each is deduplicated, searched and deleted on its own. Imports create the one they name."""


@collections.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the collections.

    \b
    umbel collections list
    """
    with api_client() as api:
        found = list(api.collections.list())
    print_json([one.as_dict() for one in found]) if as_json else _show(found)


@collections.command()
@click.argument("name")
@json_option
def create(name: str, as_json: bool) -> None:
    """Create the empty collection NAME; an existing one stays as it is.

    \b
    umbel collections create garden
    """
    with api_client() as api:
        made = api.collections.create(name)
    print_json(made.as_dict()) if as_json else _show([made])


@collections.command()
@click.argument("name")
@click.option("--pictures", metavar="NUMBER|none", type=MOST, help="How many pictures it may have.")
@click.option("--bytes", "size", metavar="NUMBER|none", type=MOST, help="How many bytes these may have together.")
@json_option
def quota(name: str, pictures: int | None, size: int | None, as_json: bool) -> None:
    """Set how much the collection NAME may have. Uploads beyond it are rejected; existing pictures stay.

    \b
    umbel collections quota garden --pictures 10000 --bytes none
    """
    given = {"max_images": pictures, "max_bytes": size}
    changes = {field: None if most == NO_LIMIT else most for field, most in given.items() if most is not None}
    if not changes:
        raise click.UsageError("Give --pictures, --bytes or both.")
    with api_client() as api:
        changed = api.collections.set_quota(name, **changes)
    print_json(changed.as_dict()) if as_json else _show([changed])


@collections.command()
@click.argument("name")
@click.argument("count", metavar="0|4|9", type=click.Choice(["0", "4", "9"]))
@click.option("--dry-run", is_flag=True, help="Only say what it would take.")
@yes_option
@wait_option("Return when the tiles of all its pictures are embedded.")
@json_option
def tiles(name: str, count: str, *, dry_run: bool, yes: bool, wait: bool, as_json: bool) -> None:
    """Have COUNT overlapping parts of each picture of the collection NAME searched too, so that a detail finds its
    picture; 0: none any more. What that takes is told before, and has to be confirmed.

    \b
    umbel collections tiles garden 4 --dry-run
    umbel collections tiles garden 4 --yes --wait
    umbel collections tiles garden 0 --yes
    """
    with api_client() as api:
        cost = api.collections.set_tiles(name, int(count), dry_run=True)
        if not as_json:
            say(_cost(cost, int(count)))
        if dry_run:
            print_json(cost.as_dict()) if as_json else None
            return
        confirm(f"Switch {name} from {cost.tiles} to {count} tiles?", yes=yes, as_json=as_json)
        changed = api.collections.set_tiles(name, int(count))
        job = None
        if changed.tiling and changed.tiling.job_id:
            job = api.jobs.get(changed.tiling.job_id)
            job = followed(api, job, quiet=as_json) if wait else job
    print_json(changed.as_dict()) if as_json else _tell_of_tiles(changed, job, wait=wait)
    sys.exit(1 if wait and job and job.status != "succeeded" else 0)


def _cost(cost: Collection, count: int) -> str:
    """What tiles take, in words."""
    if not count or cost.tiling is None:
        return f"Searches of {cost.name} leave its {cost.tiles} tiles of each picture aside at once; they are removed."
    one = cost.tiling
    time = "there is no job yet that tells how long that takes"
    if one.seconds is not None:
        time = f"about {max(1, round(one.seconds / 60)):,} min as fast as in the last jobs"
    return (
        f"{count} tiles of each of {cost.images:,} pictures: {one.vectors:,} vectors,"
        f" {one.bytes / 1e6:,.1f} MB in the database; {time}."
        f" New pictures take {count + 1} times as long to embed."
    )


def _tell_of_tiles(changed: Collection, job: Job | None, *, wait: bool) -> None:
    if job is None:
        say(f"{changed.name} has {changed.tiles} tiles of each picture.")
    elif wait:
        say(f"{changed.name}: {job.counts.indexed:,} pictures have {changed.tiles} tiles each.")
    else:
        say(f"The tiles of {changed.name} are being embedded: umbel jobs show {job.id} --wait")


@collections.command()
@click.argument("name")
@yes_option
@wait_option("Return when all its data is removed, not when it is no longer found.")
@json_option
def delete(name: str, yes: bool, wait: bool, as_json: bool) -> None:
    """Delete the collection NAME: its pictures, their embeddings, and its jobs. There is no way back.

    The collection is gone at once, and NAME is free for a new one. With --wait, exit 1 if the data was not removed.

    \b
    umbel collections delete garden --wait
    """
    with api_client() as api:
        confirm(lambda: _question(api, name), yes=yes, as_json=as_json)
        job = api.collections.delete(name).job()
        if wait:
            job = followed(api, job, quiet=as_json)
    print_json(job.as_dict()) if as_json else _report(name, job)
    sys.exit(1 if wait and job.status != "succeeded" else 0)


def _question(api: Umbel, name: str) -> str:
    images = api.collections.get(name).images
    pictures = "1 picture" if images == 1 else f"{images:,} pictures"
    return f"Delete the collection {name} with its {pictures} for ever?"


def _show(found: list[Collection]) -> None:
    rows = (
        (
            one.name,
            f"{one.images:,}",
            "" if one.max_images is None else f"{one.max_images:,}",
            "" if one.max_bytes is None else f"{one.max_bytes:,}",
            one.tiles or "",
            local_time(one.created_at),
        )
        for one in found
    )
    table(None, ("collection", "pictures", "of at most", "of bytes", "tiles", "created"), rows, right="pictures")


def _report(name: str, job: Job) -> None:
    if job.finished:
        say(f"Deleted {name}: {job.counts.indexed:,} pictures.")
    else:
        say(f"{name} is gone; its data is being removed: umbel jobs show {job.id} --wait")

"""`umbel sync`: folders of the server and buckets that are followed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from cli.follow import followed, show_failures, wait_option
from cli.keys import Span
from cli.output import api_client, complain, confirm, json_option, local_time, print_json, say, table, yes_option

if TYPE_CHECKING:
    from umbel_client import Sync
    from umbel_client.syncs import Report

ID = click.argument("sync_id", type=click.UUID)
KINDS = ("new", "changed", "renamed", "vanished", "unchanged", "failed")
UNITS = ((7 * 86_400, "w"), (86_400, "d"), (3_600, "h"), (60, "m"))


@click.group()
def sync() -> None:
    """Follow folders of the server and buckets: import what is new or changed, remove what is gone."""


@sync.command()
@click.argument("source")
@click.option("--every", type=Span(), metavar="15m|6h|1d", help="From one run to the next.  [default: 15m]")
@click.option(
    "--collection", help="Collection to import into. [default: that of the key, if it is for one; else `default`]"
)
@click.option("--label-from-folder", is_flag=True, help="Label each picture with the name of its folder.")
@click.option("--include-hidden", is_flag=True, help="Also what is hidden, trash, thumbnails that programs keep, …")
@click.option("--in-place", is_flag=True, help="Leave the pictures where they are instead of copying them.")
@click.option(
    "--max-vanished",
    type=click.FloatRange(0, 1),
    help="A run that misses a larger share of the files removes nothing.  [default: 0.5]",
)
@click.option("--adopt", is_flag=True, help="Images that are there already go, too, when their files are gone.")
@click.option("--paused", is_flag=True, help="Begin no run before `umbel sync resume`.")
@wait_option("Return when the first run has ended.")
@json_option
def add(source: str, *, every: timedelta | None, wait: bool, as_json: bool, **options: Any) -> None:
    """Follow SOURCE, a folder of the server or s3://bucket/prefix, from now on.

    \b
    umbel sync add /data/photos --every 15m --label-from-folder
    umbel sync add s3://bucket/2026 --collection garden
    """
    with api_client() as api:
        made = api.syncs.add(source, every_seconds=_seconds(every), **options)
        if wait and made.last_run is not None:
            followed(api, api.jobs.get(made.last_run.job_id), quiet=as_json)
            made = api.syncs.get(made.id)
    if as_json:
        print_json(made.as_dict())
    else:
        say(f"Sync {made.id} follows {made.location} into {made.collection}, every {_span(made.every_seconds)}.")
        if wait and made.last_run is not None:
            _report(made.last_run.report)


@sync.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the syncs with what their last runs did.

    \b
    umbel sync list
    """
    with api_client() as api:
        found = list(api.syncs.list())
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    rows = (
        (one.id, one.location, one.collection, _span(one.every_seconds), one.files, _next(one), _state(one))
        for one in found
    )
    table(None, ("sync", "source", "collection", "every", "files", "next", "reason"), rows, right="files")


@sync.command()
@ID
@json_option
def show(sync_id: UUID, as_json: bool) -> None:
    """Show all that is known of SYNC_ID.

    \b
    umbel sync show 019b2f6e-0000-7000-8000-000000000000
    """
    with api_client() as api:
        one = api.syncs.get(sync_id).as_dict()
    if as_json:
        print_json(one)
        return
    last = one.pop("last_run") or {}
    rows = [*one.items(), *((f"last run: {name}", value) for name, value in last.items() if name != "report")]
    rows += [(f"last run: {name}", value) for name, value in last.get("report", {}).items() if name in KINDS]
    table(None, ("", ""), rows)


@sync.command()
@ID
@click.option("--dry-run", is_flag=True, help="Say what would come, change and go, and do nothing.")
@click.option("--allow-vanished", is_flag=True, help="Remove what is gone, however much that is.")
@wait_option("Return when the run has ended.", default=True)
@json_option
def run(sync_id: UUID, *, dry_run: bool, allow_vanished: bool, wait: bool, as_json: bool) -> None:
    """Run SYNC_ID now, also a paused one. Exit 1 unless all of it succeeded.

    \b
    umbel sync run 019b2f6e-0000-7000-8000-000000000000 --dry-run
    """
    with api_client() as api:
        job = api.syncs.run(sync_id, dry_run=dry_run, allow_vanished=allow_vanished).job()
        if not (wait or dry_run):
            print_json(job.as_dict()) if as_json else say(f"Job {job.id} has begun: umbel jobs show {job.id} --wait")
            return
        job = followed(api, job, quiet=as_json)
        one = api.syncs.get(sync_id)
        if as_json:
            print_json(one.as_dict())
        elif one.last_run is not None and one.last_run.job_id == job.id:
            _report(one.last_run.report)
            show_failures(api, job)
    if job.error:
        complain(job.error)
    if job.status != "succeeded":
        raise click.exceptions.Exit(1)


@sync.command()
@ID
@click.option("--every", type=Span(), metavar="15m|6h|1d", help="From one run to the next.")
@click.option("--max-vanished", type=click.FloatRange(0, 1), help="Share of the files that may be gone at once.")
@json_option
def change(sync_id: UUID, *, every: timedelta | None, max_vanished: float | None, as_json: bool) -> None:
    """Change how often SYNC_ID runs, or how many files may vanish at once.

    \b
    umbel sync change 019b2f6e-0000-7000-8000-000000000000 --every 1h
    """
    if every is None and max_vanished is None:
        raise click.UsageError("Give --every or --max-vanished.")
    with api_client() as api:
        one = api.syncs.change(sync_id, every_seconds=_seconds(every), max_vanished=max_vanished)
    _show_state(one, as_json=as_json)


@sync.command()
@ID
@json_option
def pause(sync_id: UUID, as_json: bool) -> None:
    """Begin no more runs of SYNC_ID until it is resumed.

    \b
    umbel sync pause 019b2f6e-0000-7000-8000-000000000000
    """
    with api_client() as api:
        one = api.syncs.pause(sync_id)
    _show_state(one, as_json=as_json)


@sync.command()
@ID
@json_option
def resume(sync_id: UUID, as_json: bool) -> None:
    """Begin runs of SYNC_ID again, at once if one is due.

    \b
    umbel sync resume 019b2f6e-0000-7000-8000-000000000000
    """
    with api_client() as api:
        one = api.syncs.resume(sync_id)
    _show_state(one, as_json=as_json)


@sync.command()
@ID
@yes_option
@json_option
def remove(sync_id: UUID, yes: bool, as_json: bool) -> None:
    """Follow the source of SYNC_ID no longer. Its images stay.

    \b
    umbel sync remove 019b2f6e-0000-7000-8000-000000000000
    """
    confirm(f"Remove the sync {sync_id}? Its images stay.", yes=yes, as_json=as_json)
    with api_client() as api:
        api.syncs.remove(sync_id)
    print_json({"id": sync_id, "removed": True}) if as_json else say(f"Removed {sync_id}.")


def _show_state(one: Sync, *, as_json: bool) -> None:
    if as_json:
        print_json(one.as_dict())
    else:
        say(f"{one.id} runs every {_span(one.every_seconds)}: next {_next(one)}.")


def _report(report: Report) -> None:
    say(f"{_listed(report) or 'Nothing is there'}.")
    for kind in ("new", "changed", "vanished"):
        for name in getattr(report, f"{kind}_files") or ():
            say(f"{kind}: {name}")


def _next(one: Sync) -> str:
    if one.last_run is not None and one.last_run.finished_at is None:
        return "runs now"
    return "paused" if one.paused else local_time(one.next_run)


def _state(one: Sync) -> str:
    if one.last_run is None:
        return ""
    return one.last_run.error or _listed(one.last_run.report)


def _listed(report: Report) -> str:
    return ", ".join(f"{getattr(report, kind):,} {kind}" for kind in KINDS if getattr(report, kind))


def _seconds(span: timedelta | None) -> int | None:
    return None if span is None else int(span.total_seconds())


def _span(seconds: int) -> str:
    """As --every takes it, where that is a whole number of a unit."""
    return next((f"{seconds // size}{unit}" for size, unit in UNITS if seconds % size == 0), f"{seconds} s")

"""`umbel events`: what happened, and what happens now."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import click

from cli.output import api_client, json_option, print_json, print_json_line, say

if TYPE_CHECKING:
    from umbel_client import Event


def types_option(command: click.decorators.FC) -> click.decorators.FC:
    """Which events."""
    return click.option(
        "--types", metavar="TYPE,…", default="", callback=_separated, help="Only these, such as job.finished,image.*"
    )(command)


def _separated(_: click.Context, __: click.Parameter, value: str) -> list[str]:
    return [kind.strip() for kind in value.split(",") if kind.strip()]


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
@types_option
@click.option("--collection", help="Only events of this collection.")
@click.option("--job", "job_id", type=click.UUID, help="Only events of this job and its images.")
@click.option("--after", type=click.IntRange(0), help="Begin after the event with this position; 0: with the oldest.")
@json_option
def events(
    *, follow: bool, types: list[str], collection: str | None, job_id: UUID | None, after: int | None, as_json: bool
) -> None:
    """List the events that are kept, the oldest first, or follow them as they happen. More: docs/how-to/events.md

    \b
    umbel events --types job.finished,job.failed
    umbel events --follow --json          a line of JSON for each event
    """
    after = after if follow or after is not None else 0
    with api_client() as api:
        found = api.events(types=types, collection=collection, job_id=job_id, after=after, follow=follow)
        if as_json and not follow:
            print_json([event.as_dict() for event in found])
            return
        for event in found:
            print_json_line(event.as_dict()) if as_json else say(_line(event))


def _line(event: Event) -> str:
    at = f"{event.timestamp.astimezone():%Y-%m-%d %H:%M:%S}" if event.timestamp else ""
    return "  ".join(part for part in (at, f"{event.type:<16}", event.collection or "", _told(event)) if part)


def _told(event: Event) -> str:
    """What an event says, in a few words."""
    data = event.data
    images = data.get("image_ids") or [one.get("image_id") for one in data.get("failures", ())]
    if images:
        return str(images[0]) if len(images) == 1 else f"{len(images)} images"
    if "status" in data:
        counts = ", ".join(f"{count} {state}" for state, count in data["counts"].items() if count and state != "total")
        return f"{data['job_type']} {data['job_id']} {counts}"
    return str(data.get("name", ""))

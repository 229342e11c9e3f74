"""`umbel events`: what happened, and what happens now."""

import json
from uuid import UUID

import click
from umbel_client import Event

from cli.output import api_client, json_option, say


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
@click.option("--types", metavar="TYPE,…", default="", help="Only these, such as job.finished,image.*")
@click.option("--collection", help="Only events of this collection.")
@click.option("--job", "job_id", type=click.UUID, help="Only events of this job and its images.")
@click.option("--after", type=click.IntRange(0), help="Begin after the event with this position; 0: with the oldest.")
@json_option
def events(
    *, follow: bool, types: str, collection: str | None, job_id: UUID | None, after: int | None, as_json: bool
) -> None:
    """List the events that are kept, or follow them as they happen. With --json, a line of JSON for each.

    More: docs/how-to/events.md.
    """
    kinds = [kind.strip() for kind in types.split(",") if kind.strip()]
    after = after if follow or after is not None else 0
    with api_client() as api:
        found = api.events(types=kinds, collection=collection, job_id=job_id, after=after, follow=follow)
        for event in found:
            # Not all at the end: what reads the lines waits for each.
            click.echo(json.dumps(event.as_dict())) if as_json else say(_line(event))


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

"""`umbel audit`: who changed what, from the service's audit log."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice, takewhile
from typing import TYPE_CHECKING
from uuid import UUID

import click

from cli.output import api_client, json_option, local_time, print_json, print_json_line, say, table

if TYPE_CHECKING:
    from umbel_client import AuditEvent, Umbel

LOOK_SECONDS = 2.0


@click.group()
def audit() -> None:
    """The audit log: changes by administrators, deleted images, what was done to jobs, keys. docs/how-to/keys.md"""


@audit.command("list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, at most.")
@click.option("--follow", is_flag=True, help="Then go on with what happens, until Ctrl-C; oldest first.")
@json_option
def list_(limit: int, follow: bool, as_json: bool) -> None:
    """List the newest entries, newest first. Takes a key of the scope admin.

    \b
    umbel audit list --limit 100
    umbel audit list --follow --json      a line of JSON for each entry
    """
    with api_client() as api:
        found = list(islice(api.admin.audit(), limit))
        if follow:
            for event in _followed(api, found):
                print_json_line(event.as_dict()) if as_json else say("  ".join(_cells(event)))
        elif as_json:
            print_json([event.as_dict() for event in found])
        else:
            table(None, ("at", "who", "what", "of what", "answer"), map(_cells, found))


def _followed(api: Umbel, found: list[AuditEvent]) -> Iterator[AuditEvent]:
    """These events, oldest first, then each new one."""
    newest = UUID(int=0)
    while True:
        yield from reversed(found)
        newest = found[0].id if found else newest
        time.sleep(LOOK_SECONDS)
        found = list(takewhile(partial(_is_after, newest), api.admin.audit()))


def _is_after(newest: UUID, event: AuditEvent) -> bool:
    """Ids are UUIDv7: they grow with time."""
    return event.id > newest


def _cells(event: AuditEvent) -> Iterable[str]:
    answer = "not known to have ended" if event.status is None else str(event.status)
    return local_time(event.at), event.actor, event.action, event.target, answer

"""`umbel doctor`: every check, and what to do about what is wrong."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cli.config import settings
from cli.output import json_option, print_json, say

if TYPE_CHECKING:
    from cli.doctor.finding import Check, Finding

MARKS = {"ok": "✓", "warning": "!", "error": "✗"}


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check what Umbel stands on, and say what to do about what is wrong.

    Looks at the settings, the service, Postgres, Redis, the blob store, room on disks, the model, the decoders and this
    machine, by the settings of this shell (UMBEL_…), whether or not the service runs. Nothing is changed: one small
    blob is written and deleted again. Exit 1 if there is an error.

    \b
    umbel doctor
    umbel doctor --url https://pictures.example.org --json
    """
    found: list[Finding] = []
    for check in _checks():
        for finding in _safely(check):
            found.append(finding)
            if not as_json:
                _show(finding)
    levels = Counter(finding.level for finding in found)
    wrong = ", ".join(_counted(levels[level], level) for level in ("error", "warning"))
    if as_json:
        print_json({"ok": not levels["error"], "findings": [asdict(finding) for finding in found]})
    else:
        say()
        say(f"{wrong[0].upper()}{wrong[1:]}.")
    sys.exit(1 if levels["error"] else 0)


def _checks() -> list[Check]:
    from cli.doctor.contradictions import check_settings
    from cli.doctor.database import check_database
    from cli.doctor.machine import check_machine, check_service
    from cli.doctor.model import check_decoders, check_model
    from cli.doctor.redis import check_redis
    from cli.doctor.storage import check_blobs, check_room

    services: list[Check] = [check_settings, check_service, check_database, check_redis]
    return [*services, check_blobs, check_room, check_decoders, check_model, check_machine]


def _safely(check: Check) -> Iterator[Finding]:
    """What a check finds; what it did not foresee is a finding, too, and the others go on."""
    from cli.doctor.finding import error

    try:
        yield from check(settings())
    except Exception as unforeseen:
        name = check.__name__.removeprefix("check_")
        yield error(
            name, f"{type(unforeseen).__name__}: {unforeseen}", "This check could not be finished; please report it."
        )


def _counted(number: int, level: str) -> str:
    return f"{number or 'no'} {level}{'' if number == 1 else 's'}"


def _show(finding: Finding) -> None:
    say(f"{MARKS[finding.level]} {finding.check}: {finding.detail}", bold=finding.level == "error")
    if finding.remedy:
        say(f"    → {finding.remedy}")

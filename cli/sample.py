"""`umbel sample`: a folder of labelled pictures to begin with."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

from cli.output import json_option, print_json, progress, say

if TYPE_CHECKING:
    from garden import Plan

COUNT = click.IntRange(1, 1_000_000)


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--species", type=COUNT, default=12, show_default=True, help="Kinds of flower.")
@click.option("--per-species", type=COUNT, default=20, show_default=True, help="Pictures of each kind.")
@click.option(
    "--seed", type=click.IntRange(0, 2**63), default=7, show_default=True, help="Another seed, other flowers."
)
@click.option("--size", type=click.IntRange(32, 2048), default=320, show_default=True, help="Side in pixels.")
@click.option("--processes", type=click.IntRange(1, 256), help="How many draw at once; default: one a core.")
@json_option
def sample(*, directory: Path, processes: int | None, as_json: bool, **numbers: int) -> None:
    """Draw the sample garden into DIRECTORY: pictures of invented flowers, one folder a species.

    The same numbers always give the same pictures. A garden that is already there is left alone.

    \b
    umbel sample flowers --species 20
    """
    from garden import Plan

    started = monotonic()
    plan = Plan(**numbers)
    drawn = draw(directory, plan, processes=processes, quiet=as_json)
    seconds = round(monotonic() - started, 3)
    if as_json:
        found = {"pictures": len(plan), "drawn": drawn, "seconds": seconds, "names": plan.names()}
        print_json({"directory": str(directory), **numbers, **found})
    elif drawn:
        say(f"{drawn} pictures of {plan.species} species in {directory} ({seconds:.1f} s).")
    else:
        say(f"{directory} already holds these {len(plan)} pictures of {plan.species} species.")


def draw(directory: Path, plan: Plan, *, processes: int | None = None, quiet: bool = False) -> int:
    """Draw the garden with a progress bar, unless it is there already. Returns how many pictures were drawn."""
    from garden import draw_garden, is_drawn

    if is_drawn(directory, plan):
        return 0
    with progress(quiet=quiet) as bar:
        task = bar.add_task("Drawing flowers", total=len(plan), note="")
        for path in draw_garden(directory, **asdict(plan), processes=processes):
            bar.update(task, advance=1, note=path.parent.name)
    return len(plan)

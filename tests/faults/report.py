"""What a run has found: a table for people, JSON for the record."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.faults.traffic import Heal
from tests.faults.trial import CALM, Outcome


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The whole run. heal_seconds: from a fault's end, or from the kill, until a picture sent after it can be found."""
    struck: Counter[str] = sum((outcome.struck for outcome in outcomes), Counter())
    skipped: Counter[str] = sum((outcome.skipped for outcome in outcomes), Counter())
    heals = [heal for outcome in outcomes for heal in outcome.heals]
    kinds = [CALM, *sorted(struck.keys() | skipped.keys())]
    return {
        "seeds": [outcome.seed for outcome in outcomes],
        "failed_seeds": [outcome.seed for outcome in outcomes if outcome.failures],
        "pictures": sum(outcome.taken for outcome in outcomes),
        "faults": struck.total(),
        "samples": sum(outcome.samples for outcome in outcomes),
        "abandoned_imports": sum(outcome.abandoned for outcome in outcomes),
        "answers": {str(status): n for status, n in sorted(_answers(outcomes).items())},
        "minutes": round(sum(outcome.seconds for outcome in outcomes) / 60, 1),
        "drained_seconds": _spread(outcome.drained for outcome in outcomes),
        "kinds": {
            str(kind): {
                "struck": struck[kind],
                "skipped": skipped[kind],
                "heal_seconds": _spread(_seconds(heals, kind, alone=False)),
                "heal_seconds_alone": _spread(_seconds(heals, kind, alone=True)),
            }
            for kind in kinds
        },
        "struck_in": {
            str(kind): {str(outcome.seed): outcome.struck[kind] for outcome in outcomes if outcome.struck[kind]}
            for kind in kinds
            if kind != CALM
        },
        "failures": {str(outcome.seed): outcome.failures for outcome in outcomes if outcome.failures},
    }


def show(found: dict[str, Any], logs: Iterable[str], console: Console) -> None:
    """Print the table and what failed."""
    table = Table(title="Seconds until a picture sent after the fault can be found", title_justify="left", box=None)
    table.add_column("fault")
    for column in ("struck", "skipped", "median", "max", "alone", "median", "max"):
        table.add_column(column, justify="right")
    for kind, row in found["kinds"].items():
        cells = [row["struck"], row["skipped"]]
        every, alone = row["heal_seconds"], row["heal_seconds_alone"]
        cells += [every["median"], every["max"], alone["times"], alone["median"], alone["max"]]
        table.add_row(kind, *("" if cell is None else str(cell) for cell in cells))
    console.print(table)
    console.print(_by_seed(found))
    console.print(
        f"{len(found['seeds'])} seeds, {len(found['failed_seeds'])} failed; {found['faults']} faults,"
        f" {found['pictures']:,} pictures, {found['samples']:,} samples of the ledger, {found['minutes']} minutes"
    )
    for seed, failures in found["failures"].items():
        for failure in failures:
            console.print(f"[red]seed {seed}[/]: {escape(failure)}")
    for folder in logs:
        console.print(f"Logs of a failed seed: {escape(folder)}")


def _by_seed(found: dict[str, Any]) -> Table:
    """How often each fault struck in each storm."""
    table = Table(title="Faults by seed", title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("fault", no_wrap=True)
    for seed in found["seeds"]:
        table.add_column(str(seed), justify="right", no_wrap=True)
    for kind, times in found["struck_in"].items():
        table.add_row(kind, *(str(times.get(str(seed), "·")) for seed in found["seeds"]))
    return table


def _seconds(heals: Iterable[Heal], kind: str, *, alone: bool) -> list[float]:
    found = [heal for heal in heals if heal.kind == kind and (heal.alone or not alone)]
    return [heal.seconds for heal in found if heal.seconds is not None]


def _spread(values: Iterable[float]) -> dict[str, Any]:
    found = list(values)
    if not found:
        return {"times": 0, "median": None, "max": None}
    return {"times": len(found), "median": round(statistics.median(found), 1), "max": round(max(found), 1)}


def _answers(outcomes: Sequence[Outcome]) -> Counter[int]:
    return sum((outcome.answers for outcome in outcomes), Counter())

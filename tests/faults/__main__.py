"""`python -m tests.faults`: many seeds, each a storm of its own, on one stack or some. Exit 1 if any seed failed."""

import contextlib
import io
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from tests.faults.disks import with_own_mounts
from tests.faults.logs import Logs
from tests.faults.report import show, summary
from tests.faults.schedule import Kind
from tests.faults.target import Target
from tests.faults.traffic import IMPORTS
from tests.faults.trial import Outcome, Plan, Trial

KINDS = click.Choice([kind.value for kind in Kind])


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="How many storms.")
@click.option("--first", type=int, default=1, show_default=True, help="The first seed.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Stacks side by side.")
@click.option("--images", type=click.IntRange(8), default=2000, show_default=True, help="Pictures in each import.")
@click.option("--faults", type=click.IntRange(0), default=16, show_default=True, help="Faults in each storm.")
@click.option("--only", type=KINDS, multiple=True, help="Only these kinds; may be repeated.")
@click.option("--patience", type=float, default=120, show_default=True, help="Seconds in which all must heal.")
@click.option("--pace", type=float, default=1, show_default=True, help="Stretches the time between faults.")
@click.option("--lasting", type=(KINDS, float), multiple=True, help="Seconds that a kind lasts; may be repeated.")
@click.option("--import", "way", type=click.Choice(list(IMPORTS)), help="How the import is sent; else each seed draws.")
@click.option("--write", is_flag=True, help="Keep the figures in benchmarks/results/faults.json.")
def main(
    *,
    seeds: int,
    first: int,
    jobs: int,
    images: int,
    faults: int,
    only: tuple[str, ...],
    patience: float,
    pace: float,
    lasting: tuple[tuple[str, float], ...],
    way: str | None,
    write: bool,
) -> None:
    """Put the stack through storms of faults and see whether it keeps its promises."""
    kinds = tuple(map(Kind, only)) or tuple(Kind)
    long = {Kind(kind): seconds for kind, seconds in lasting}
    plan = Plan(images, faults, kinds, patience, way, pace, long)
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it wants the stack gone, too
    run = Run(plan, console)
    try:
        run.over(range(first, first + seeds), jobs)
    except KeyboardInterrupt:
        console.print("Interrupted: what there is so far.")
    outcomes = sorted(run.outcomes, key=lambda outcome: outcome.seed)
    if outcomes:
        found = summary(outcomes)
        show(found, [outcome.logs for outcome in outcomes if outcome.logs], console)
        if write:
            _write(found, plan, jobs)
    sys.exit(1 if any(outcome.failures for outcome in outcomes) or not outcomes else 0)


class Run:
    """Seeds shared among stacks that run side by side; outcomes: of those that ended, in no order."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self.outcomes: list[Outcome] = []
        self._plan, self._console = plan, console
        self._stop = threading.Event()
        self._kept = Path(tempfile.mkdtemp(prefix="umbel-faults-"))
        self._line = console.status("starting")
        self._now: dict[int, str] = {}  # what goes on in each seed

    def over(self, seeds: Iterable[int], jobs: int) -> None:
        """Every seed once, on one of `jobs` stacks. Raises KeyboardInterrupt once all stacks are down."""
        left = iter(list(seeds))
        targets = [Target(exposed=True) for _ in range(jobs)]
        # In threads of their own: Ctrl-C comes to the main thread, which then asks the others to end in good order.
        threads = [threading.Thread(target=self._serve, args=[target, left]) for target in targets]
        with self._line:
            try:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            except KeyboardInterrupt:
                self._stop.set()
                for thread in threads:
                    thread.join()
                raise
        with contextlib.suppress(OSError):
            self._kept.rmdir()  # unless something is in it

    def _serve(self, target: Target, left: Iterator[int]) -> None:
        """Seeds on one stack, one after the other, until none is left; what it said while a seed failed is kept."""
        self._console.print(f"Starting a stack in {target.home}")
        try:
            for seed in left:
                try:
                    target.up()  # the supervisor may have given up since the last seed
                except AssertionError as error:  # there is nothing to go on with
                    self.outcomes.append(Outcome(seed, "none", [f"the stack does not start: {error}"]))
                    return
                outcome = self._one(target, seed)
                if self._stop.is_set():
                    return
                self.outcomes.append(outcome)
                self._console.print(self._told(outcome))
        finally:
            target.remove()

    def _one(self, target: Target, seed: int) -> Outcome:
        logs = Logs(target.settings.home / "logs")
        trial = Trial(target, seed, self._plan, stop=self._stop, tell=lambda event: self._tell(seed, event))
        self._guarded(trial)
        self._now.pop(seed, None)
        outcome = trial.outcome
        if outcome.failures and not self._stop.is_set():
            outcome.logs = str(self._kept / f"seed-{seed}")
            logs.keep(outcome, self._kept / f"seed-{seed}")
        return outcome

    def _tell(self, seed: int, event: str) -> None:
        self._now[seed] = f"[bold]seed {seed}[/]: {escape(event)}"
        self._line.update("\n".join(self._now.copy().values()))
        if not self._console.is_terminal:
            self._console.print(f"seed {seed}: {escape(event)}")

    def _guarded(self, trial: Trial) -> None:
        try:
            trial.run()
        except Exception as error:
            trial.outcome.failures.append(f"the trial ended with {type(error).__name__}: {error}")

    def _told(self, outcome: Outcome) -> str:
        verdict = (
            f"[red]{len(outcome.failures)} failures[/], see {outcome.logs}" if outcome.failures else "[green]ok[/]"
        )
        return (
            f"seed {outcome.seed}: {verdict}; {outcome.taken:,} pictures, {outcome.struck.total()} faults,"
            f" {outcome.samples} samples, {outcome.seconds:.0f} s, quiet after {outcome.drained:.0f} s"
        )


def _write(found: dict[str, object], plan: Plan, jobs: int) -> None:
    from benchmarks.common import write  # noqa: PLC0415

    command = " ".join(["python -m tests.faults", *sys.argv[1:]])
    with contextlib.redirect_stdout(io.StringIO()):  # the table has said it already
        write("faults", {"command": command, "jobs": jobs, "images_each": plan.images, **found})


if __name__ == "__main__":
    with_own_mounts("tests.faults")
    main()

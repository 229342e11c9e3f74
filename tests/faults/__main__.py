"""`python -m tests.faults`: one stack, many seeds, each a storm of its own. Exit 1 if any seed failed."""

import contextlib
import io
import signal
import sys
import tempfile
import threading
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from tests.faults.logs import Logs
from tests.faults.report import show, summary
from tests.faults.schedule import Kind
from tests.faults.target import Target
from tests.faults.traffic import IMPORTS
from tests.faults.trial import Outcome, Plan, Trial


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="How many storms.")
@click.option("--first", type=int, default=1, show_default=True, help="The first seed.")
@click.option("--pictures", type=click.IntRange(8), default=2000, show_default=True, help="Pictures in each import.")
@click.option("--faults", type=click.IntRange(0), default=16, show_default=True, help="Faults in each storm.")
@click.option(
    "--only", type=click.Choice([kind.value for kind in Kind]), multiple=True, help="Only these kinds; may be repeated."
)
@click.option("--patience", type=float, default=120, show_default=True, help="Seconds in which all must heal.")
@click.option("--pace", type=float, default=1, show_default=True, help="Stretches the time between faults.")
@click.option("--import", "way", type=click.Choice(list(IMPORTS)), help="How the import is sent; else each seed draws.")
@click.option("--write", is_flag=True, help="Keep the figures in benchmarks/results/faults.json.")
def main(
    *,
    seeds: int,
    first: int,
    pictures: int,
    faults: int,
    only: tuple[str, ...],
    patience: float,
    pace: float,
    way: str | None,
    write: bool,
) -> None:
    """Put the stack through storms of faults and see whether it keeps its promises."""
    plan = Plan(pictures, faults, tuple(map(Kind, only)) or tuple(Kind), patience, way, pace)
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it wants the stack gone, too
    run = Run(plan, console)
    try:
        run.over(range(first, first + seeds))
    except KeyboardInterrupt:
        console.print("Interrupted: what there is so far.")
    except AssertionError as error:  # a command of the stack failed, so there is nothing to go on with
        run.outcomes.append(Outcome(first + len(run.outcomes), "none", [f"the stack does not start: {error}"]))
    finally:
        run.close()
    if run.outcomes:
        found = summary(run.outcomes)
        show(found, [outcome.logs for outcome in run.outcomes if outcome.logs], console)
        if write:
            _write(found, plan)
    sys.exit(1 if any(outcome.failures for outcome in run.outcomes) or not run.outcomes else 0)


class Run:
    """Seeds one after the other on one stack; outcomes: of those that ended."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self.outcomes: list[Outcome] = []
        self._plan, self._console = plan, console
        self._stop = threading.Event()
        self._kept = Path(tempfile.mkdtemp(prefix="umbel-faults-"))
        self._target = Target()

    def over(self, seeds: range) -> None:
        self._console.print(f"Starting the stack in {self._target.home}")
        for number, seed in enumerate(seeds, 1):
            with self._console.status(f"seed {seed}") as line:

                def tell(event: str, line=line, seed=seed, number=number) -> None:  # type: ignore[no-untyped-def]
                    line.update(f"[bold]seed {seed}[/] ({number} of {len(seeds)}): {escape(event)}")
                    if not self._console.is_terminal:
                        self._console.print(f"seed {seed}: {escape(event)}")

                outcome = self._one(seed, tell)
            self._console.print(self._told(outcome))

    def close(self) -> None:
        """Take the stack down; what it said while a seed failed is kept."""
        self._stop.set()
        self._target.remove()
        with contextlib.suppress(OSError):
            self._kept.rmdir()  # unless something is in it

    def _one(self, seed: int, tell) -> Outcome:  # type: ignore[no-untyped-def]
        self._target.up()  # the supervisor may have given up since the last seed
        logs = Logs(self._target.settings.home / "logs")
        trial = Trial(self._target, seed, self._plan, stop=self._stop, tell=tell)
        # In a thread of its own: Ctrl-C comes to the main thread, which then asks the other to end in good order.
        worker = threading.Thread(target=self._guarded, args=[trial], name=f"seed {seed}")
        worker.start()
        try:
            worker.join()
        except KeyboardInterrupt:
            self._stop.set()
            worker.join()
            raise
        outcome = trial.outcome
        if outcome.failures:
            outcome.logs = str(self._kept / f"seed-{seed}")
            logs.keep(outcome, self._kept / f"seed-{seed}")
        self.outcomes.append(outcome)
        return outcome

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


def _write(found: dict[str, object], plan: Plan) -> None:
    from benchmarks.common import write  # noqa: PLC0415

    command = " ".join(["python -m tests.faults", *sys.argv[1:]])
    with contextlib.redirect_stdout(io.StringIO()):  # the table has said it already
        write("faults", {"command": command, "pictures_each": plan.pictures, **found})


if __name__ == "__main__":
    main()

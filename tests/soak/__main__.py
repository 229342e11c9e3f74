"""`python -m tests.soak`: a stack under half of the load that it bears, for long; says whether all it uses stays flat.

Exit 1 if something grows, or if an answer or the end was not as it should be.
"""

import contextlib
import csv
import io
import signal
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.common import RESULTS
from benchmarks.common import write as write_figures
from tests.faults.clients import Receipts
from tests.faults.judgement import hanging, reconciled
from tests.faults.sampler import miscounts
from tests.faults.target import Target
from tests.soak.load import Load, Users
from tests.soak.samples import Recorder
from tests.soak.verdict import Verdict, judged

PLOT = Path(__file__).parents[2] / "docs" / "images" / "soak.png"
SETTLE_SECONDS = 120  # for what is under way when the load ends
NEAR = 0.2  # a series that grows by less than this share of what it may is not shown


@click.command()
@click.option("--minutes", type=float, default=60, show_default=True, help="How long the load goes on.")
@click.option("--every", type=float, default=10, show_default=True, help="Seconds between two samples.")
@click.option("--gallery", type=click.IntRange(100), default=1500, show_default=True, help="Pictures that stay in it.")
@click.option("--share", type=float, default=0.5, show_default=True, help="Of what the stack can do.")
@click.option("--find", type=float, default=40, show_default=True, help="Seconds for finding out what it can do.")
@click.option("--rate", type=float, help="Operations a second, instead of finding out.")
@click.option("--write", is_flag=True, help="Keep the figures in benchmarks/results/ and the plot in docs/images/.")
def main(
    *, minutes: float, every: float, gallery: int, share: float, find: float, rate: float | None, write: bool
) -> None:
    """Let users work on a stack for so long, and judge what it used."""
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    target = Target()
    users = Users(target.url, gallery=gallery)
    try:
        console.print(f"Starting a stack in {target.home}")
        target.up()
        load = Load(users)
        users.fill()
        most = rate / share if rate else load.most(find)
        console.print(f"It bears {most:.1f} operations a second; {share:.0%} of that for {minutes:g} minutes")
        recorder = Recorder(target, users, load, every)
        with recorder:
            load.run(most * share, minutes * 60)
        failures = [*users.complaints(), *_ended(target, users)]
    except KeyboardInterrupt:
        console.print("Interrupted.")
        sys.exit(1)
    finally:
        users.close()
        target.remove()
    verdicts = judged(recorder.rows)
    _show(verdicts, failures, console)
    folder = RESULTS if write else Path(tempfile.mkdtemp(prefix="umbel-soak-"))
    _write_rows(recorder.rows, folder / "soak.csv", PLOT if write else folder / "soak.png")
    if write:
        about = {"minutes": minutes, "operations_a_second": round(most * share, 1), "most_a_second": round(most, 1)}
        about |= {"gallery": gallery, "operations": dict(users.done), "answers": _answers(users.receipts)}
        series = {each.name: each.told() for each in verdicts}
        with contextlib.redirect_stdout(io.StringIO()):  # the table has said it already
            write_figures("soak", about | {"failures": failures, "series": series})
    console.print(f"Figures in {folder}")
    sys.exit(1 if failures or not all(verdict.flat for verdict in verdicts) else 0)


def _ended(target: Target, users: Users) -> list[str]:
    """What is wrong once the load is over."""
    deadline = time.monotonic() + SETTLE_SECONDS
    with target.ledger(autocommit=True) as connection:
        while (left := hanging(connection, users.collection)) and time.monotonic() < deadline:
            time.sleep(0.5)
        wrong = miscounts(connection, users.collection)
        [[there]] = connection.execute(
            "SELECT count(*) FROM image JOIN collection c ON c.id = collection_id WHERE c.name = %s",
            [users.collection],
        ).fetchall()
    known = len(users.kept)
    lost = [f"{known} pictures are kept, {there} are in the gallery"] if there != known else []
    return [*left, *wrong, *lost, *reconciled(target)]


def _answers(receipts: Receipts) -> dict[str, int]:
    return {str(status): times for status, times in sorted(receipts.answers.items())}


def _write_rows(rows: list[dict[str, float]], table: Path, plot: Path) -> None:
    from tests.soak.plot import draw  # noqa: PLC0415 - matplotlib takes its time

    names = sorted({name for row in rows for name in row} - {"seconds"})
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["seconds", *names], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: round(value, 3) for name, value in row.items()} for row in rows)
    draw(rows, plot)


def _show(verdicts: list[Verdict], failures: list[str], console: Console) -> None:
    """What grows, and what comes near to it."""
    table = Table(title="Over the last half", title_justify="left", box=None)
    for column in ("series", "median", "growth", "allowed", ""):
        table.add_column(column, justify="left" if column == "series" else "right")
    for each in verdicts:
        if each.growth > NEAR * each.allowed:
            state = "[green]flat[/]" if each.flat else "[red]grows[/]"
            table.add_row(each.name, f"{each.median:,.1f}", f"{each.growth:+,.2f}", f"{each.allowed:,.2f}", state)
    console.print(table)
    console.print(f"{sum(each.flat for each in verdicts)} of {len(verdicts)} series are flat")
    for failure in failures:
        console.print(f"[red]{escape(failure)}[/]")


if __name__ == "__main__":
    main()

"""`umbel train`: a model for the pictures that someone has."""

from __future__ import annotations

import dataclasses
import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cli.output import json_option, print_json, progress, skipped_lines
from core.settings import settings
from ml.training.recipe import RECIPES, Recipe, progressive

if TYPE_CHECKING:  # torch takes seconds to import: not for `--help`
    from ml.datasets import Dataset
    from ml.evaluation.metrics import Metrics
    from ml.leakage import Leakage
    from ml.training.progress import Epoch
    from ml.training.tensorboard import Board
    from ml.training.train import Result, Watcher

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
NEW_FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
SHARE = click.FloatRange(0, 0.9)


def knob(flag: str, kind: Any, text: str) -> Any:
    """An option that changes one field of the recipe; without it, the recipe's own value stays."""
    field = flag[2:].replace("-", "_")
    default = getattr(RECIPES["b0"], field)
    return click.option(flag, type=kind, help=f"{text}  [default: the recipe's; b0: {default}]")


@click.command()
@click.argument("folders", metavar="FOLDER…", nargs=-1, required=True, type=FOLDER)
@click.option("--out", required=True, type=NEW_FOLDER, help="Where the checkpoint, its card and its curves go.")
@click.option(
    "--start", type=FILE, help="Weights to start from: a timm backbone or an Umbel checkpoint; else the hub's."
)
@click.option("--name", default="umbel", show_default=True, help="Name of the model and of its files.")
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default="b0",
    show_default=True,
    help="Which EfficientNetV2, and how it is trained.",
)
@knob("--members", click.IntRange(1), "Networks to train from the same start; their weights are averaged.")
@knob("--epochs", click.IntRange(1), "Of each member, over all picture sizes, which grow on the way.")
@knob("--size", click.IntRange(32, 1024), "Side of the model's pictures.")
@knob("--dim", click.IntRange(2, 4000), "Length of an embedding.")
@knob("--batch-size", click.IntRange(2), "Pictures a step.")
@knob("--margin", click.FloatRange(0, 1), "ArcFace's, in radians.")
@knob("--centres", click.IntRange(1, 10), "Sub-centres a class: more than one for classes of several looks.")
@knob("--balance", click.FloatRange(0, 1), "1: classes are drawn by their size; 0: all equally often.")
@knob("--seed", click.IntRange(0), "Same seed, same weights.")
@knob("--validation", SHARE, "Share of each class that is only judged on.")
@knob("--held-out-classes", click.IntRange(0), "Classes of the richest folder that are only judged on.")
@knob("--patience", click.IntRange(1), "Epochs without a better one until the run ends early.")
@click.option("--flip-average", is_flag=True, help="Embed picture and mirror image: a little better, twice the time.")
@click.option("--tensorboard", type=NEW_FOLDER, help="Write TensorBoard events there.")
@click.option("--fresh", is_flag=True, help="Begin anew, though an unfinished run is there to go on with.")
@json_option
def train(  # noqa: PLR0917 - click passes by name
    folders: tuple[Path, ...],
    out: Path,
    start: Path | None,
    recipe: str,
    tensorboard: Path | None,
    fresh: bool,
    as_json: bool,
    **knobs: Any,
) -> None:
    """Fine-tune an EfficientNetV2 with ArcFace on FOLDERs of class folders (FOLDER/class/picture).

    Writes OUT/NAME.safetensors and its card OUT/NAME.json, who was learnt from (NAME.split.json), the curves
    (NAME.curves.png, drawn anew after each epoch) and the duplicates found (NAME.duplicates.json and .png). To use the
    model, set UMBEL_CHECKPOINT to the first; to judge it, see `umbel evaluate`.

    Every epoch is judged on pictures, and classes, that were not trained on; the best one is kept. Duplicates stay on
    one side. A run that was interrupted, even killed, goes on when the same command is given again, to the same end.
    """
    from ml.training.train import train as run  # noqa: PLC0415 - see TYPE_CHECKING above

    with ExitStack() as stack:
        board = stack.enter_context(_board(tensorboard)) if tensorboard else None
        watcher = _watcher(stack.enter_context(progress(quiet=as_json)), board)
        result = run(folders, out, start, _recipe(recipe, **knobs), fresh=fresh, settings=settings(), watcher=watcher)
    if as_json:
        print_json(_report(result))
    else:
        _show(result, Console())


def _recipe(preset: str, *, epochs: int | None, size: int | None, flip_average: bool, **knobs: Any) -> Recipe:
    base = RECIPES[preset]
    changed = {name: value for name, value in knobs.items() if value is not None}
    if epochs or size:
        size = size or base.size
        changed |= {"size": size, "stages": progressive(size, epochs or base.epochs)}
    return dataclasses.replace(base, flip_average=flip_average, **changed)


def _board(folder: Path) -> Board:
    from ml.training.tensorboard import Board  # noqa: PLC0415

    return Board(folder)


def _watcher(bars: Progress, board: Board | None) -> Watcher:
    """A bar over all pictures, then one over all steps, and a line for each epoch."""
    from ml.training.train import Watcher  # noqa: PLC0415

    task = bars.add_task("Reading pictures", total=None, note="")

    def reading(done: int, total: int) -> None:
        bars.update(task, completed=done, total=total)

    def looking(done: int, total: int) -> None:
        bars.update(task, description="Looking at pictures", completed=done, total=total)

    def begin(dataset: Dataset, leakage: Leakage, done: int, steps: int) -> None:
        bars.console.print(leakage.text(dataset), highlight=False)
        if done:
            bars.console.print(f"Going on after step {done:,} of {steps:,}.", highlight=False)
        bars.reset(task, description=f"Training on {len(dataset.labels):,} pictures", total=steps, completed=done)
        if board:
            board.begin(done)

    def step(loss: float) -> None:
        bars.update(task, advance=1, note=f"loss {loss:.3f}")
        if board:
            board.step(loss)

    def epoch(done: Epoch) -> None:
        parts = (f"{name}: R@1 {one.r_at_1:.3f}, MAP@R {one.map_at_r:.3f}" for name, one in done.metrics.items())
        which = f"Member {done.member + 1}, epoch {done.number} at {done.size} px, loss {done.loss:.3f}. "
        bars.console.print(which + "; ".join(parts), highlight=False)
        if board:
            board.epoch(done)

    return Watcher(reading=reading, looking=looking, begin=begin, step=step, epoch=epoch)


def _show(result: Result, console: Console) -> None:
    table = Table("Judged on", "Pictures", "R@1", "R@5", "MAP@R", "11-NN F1", "EER", title=result.card.name)
    for name, metrics in result.metrics.items():
        table.add_row(f"{name}: before", *_row(result.baseline[name]), style="dim")
        table.add_row(name, *_row(metrics))
    console.print(table)
    for line in skipped_lines([(one.path, one.reason) for one in result.dataset.skipped]):
        console.print(line, style="yellow", highlight=False)
    console.print(f"Written to {result.files.checkpoint}; curves: {result.files.curves}", highlight=False)


def _row(one: Metrics) -> list[str]:
    figures = (one.r_at_1, one.r_at_5, one.map_at_r, one.knn_macro_f1, one.eer)
    return [str(one.pictures), *(f"{figure:.3f}" for figure in figures)]


def _report(result: Result) -> dict[str, object]:
    return {
        "checkpoint": str(result.files.checkpoint),
        "card": result.card.model_dump(mode="json"),
        "blend": result.blend,
        "settling": result.settling._asdict(),
        "duplicates": result.leakage.as_dict(result.dataset),
        "epochs": [
            {
                "member": one.member,
                "number": one.number,
                "size": one.size,
                "loss": round(one.loss, 4),
                "score": None if math.isnan(one.score) else round(one.score, 4),
            }
            for one in result.epochs
        ],
        "skipped": [{"path": str(one.path), "reason": one.reason} for one in result.dataset.skipped],
    }

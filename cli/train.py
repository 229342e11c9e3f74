"""`umbel train`: a model for the pictures that someone has."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from core.settings import settings
from ml.training.recipe import Recipe, progressive

if TYPE_CHECKING:  # torch takes seconds to import: not for `--help`
    from ml.evaluation.metrics import Metrics
    from ml.training.course import Epoch, Watcher
    from ml.training.train import Result

DEFAULT = Recipe()
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("folders", metavar="FOLDER…", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Where the checkpoint goes."
)
@click.option(
    "--start", type=FILE, help="Weights to start from: a timm backbone or an Umbel checkpoint; else the hub's."
)
@click.option("--name", default=DEFAULT.name, show_default=True, help="Name of the model and of its file.")
@click.option("--architecture", default=DEFAULT.architecture, show_default=True, help="timm's name of the backbone.")
@click.option("--epochs", default=DEFAULT.epochs, show_default=True, type=click.IntRange(1), help="Over all sizes.")
@click.option(
    "--size",
    default=DEFAULT.size,
    show_default=True,
    type=click.IntRange(32, 1024),
    help="Side of the model's pictures.",
)
@click.option(
    "--batch-size", default=DEFAULT.batch_size, show_default=True, type=click.IntRange(2), help="Pictures a step."
)
@click.option("--margin", default=DEFAULT.margin, show_default=True, type=click.FloatRange(0, 1), help="Radians.")
@click.option(
    "--seed", default=DEFAULT.seed, show_default=True, type=click.IntRange(0), help="Same seed, same weights."
)
@click.option(
    "--validation",
    default=DEFAULT.validation,
    show_default=True,
    type=click.FloatRange(0, 0.9),
    help="Share of each class that is only judged on.",
)
@click.option(
    "--held-out-classes",
    default=DEFAULT.held_out_classes,
    show_default=True,
    type=click.IntRange(0),
    help="Classes of the richest folder that are only judged on, if it has four times as many.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def train(folders: tuple[Path, ...], out: Path, start: Path | None, as_json: bool, **knobs: Any) -> None:
    """Fine-tune an EfficientNetV2 with ArcFace on FOLDERs of class folders (FOLDER/class/picture).

    Writes OUT/NAME.safetensors and its card OUT/NAME.json. To use them, set UMBEL_CHECKPOINT to the former.
    Every epoch is judged on pictures, and classes, that were not trained on; the best one is kept.
    """
    from ml.training.train import train as run  # noqa: PLC0415 - see TYPE_CHECKING above

    config = settings()
    console = Console(stderr=True, quiet=as_json)
    with _bar(console) as progress:
        watcher = _watcher(progress)
        result = run(folders, out, start, _recipe(**knobs), settings=config, watcher=watcher)
    if as_json:
        click.echo(json.dumps(_report(result), indent=2))
    else:
        _show(result, Console())


def _recipe(*, epochs: int, size: int, **knobs: Any) -> Recipe:
    return dataclasses.replace(DEFAULT, size=size, stages=progressive(size, epochs), **knobs)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def _watcher(progress: Progress) -> Watcher:
    """A bar over all steps, and a line for each epoch."""
    from ml.training.course import Watcher  # noqa: PLC0415

    task = progress.add_task("Reading pictures", total=None, loss="–")

    def epoch(done: Epoch) -> None:
        parts = (f"{name}: R@1 {one.r_at_1:.3f}, MAP@R {one.map_at_r:.3f}" for name, one in done.metrics.items())
        progress.console.print(f"Epoch {done.number} at {done.size} px, loss {done.loss:.3f}. " + "; ".join(parts))

    return Watcher(
        begin=lambda dataset, steps: progress.update(
            task, description=f"Training on {len(dataset.labels):,} pictures", total=steps
        ),
        step=lambda loss: progress.update(task, advance=1, loss=f"{loss:.3f}"),
        epoch=epoch,
    )


def _show(result: Result, console: Console) -> None:
    table = Table("Judged on", "Pictures", "R@1", "R@5", "MAP@R", "11-NN F1", "EER", title=result.card.name)
    for name, metrics in result.metrics.items():
        table.add_row(f"{name}: before", *_row(result.baseline[name]), style="dim")
        table.add_row(name, *_row(metrics))
    console.print(table)
    for skipped in result.skipped[:20]:
        console.print(f"Skipped {skipped.path}: {skipped.reason}", style="yellow", highlight=False)
    if len(result.skipped) > 20:
        console.print(f"… and {len(result.skipped) - 20} more files skipped.", style="yellow")
    console.print(f"Best epoch {result.best.number}; written to {result.checkpoint}", highlight=False)


def _row(one: Metrics) -> list[str]:
    figures = (one.r_at_1, one.r_at_5, one.map_at_r, one.knn_macro_f1, one.eer)
    return [str(one.pictures), *(f"{figure:.3f}" for figure in figures)]


def _report(result: Result) -> dict[str, object]:
    return {
        "checkpoint": str(result.checkpoint),
        "card": result.card.model_dump(mode="json"),
        "best_epoch": result.best.number,
        "blend": result.blend,
        "epochs": [
            {"number": one.number, "size": one.size, "loss": round(one.loss, 4), "score": round(one.score, 4)}
            for one in result.epochs
        ],
        "skipped": [{"path": str(one.path), "reason": one.reason} for one in result.skipped],
    }

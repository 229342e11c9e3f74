"""`umbel evaluate`: what a model is worth on someone's pictures, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.config import settings
from cli.output import json_option, print_json, progress, say, skipped_lines, table

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ml.evaluation.evaluate import Watch

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

FILE = click.Path(path_type=Path)  # whether it is there is told in one line, as by every command that loads a model


@click.command()
@click.argument("folders", metavar="FOLDER…", nargs=-1, type=FOLDER)
@click.option("--checkpoint", type=FILE, help="The model; else the one that workers use.")
@click.option("--against", multiple=True, metavar="FILE", type=FILE, help="A model to compare with; may be repeated.")
@click.option("--split", type=FILE, help="What training wrote beside the checkpoint, to leave out what it learnt from.")
@click.option(
    "--held-out", multiple=True, metavar="FOLDER", type=FOLDER, help="Classes the model never saw; may be repeated."
)
@click.option("--queries", metavar="FOLDER", type=FOLDER, help="Pictures that ask in --gallery alone.")
@click.option(
    "--gallery", metavar="FOLDER", type=FOLDER, help="Where --queries are searched; classes of one name are one."
)
@click.option("--include-hidden", is_flag=True, help="Also what is hidden, trash, thumbnails that programs keep, …")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where the report and the pictures go.")
@click.option(
    "--bootstrap", default=1000, show_default=True, type=click.IntRange(0), help="Resamples for the intervals; 0: none."
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Same seed, same intervals and map.")
@click.option(
    "--runtime",
    type=click.Choice(["auto", "torch", "openvino"]),
    help="What runs the models; else what workers would choose on this machine.",
)
@json_option
def evaluate(  # noqa: PLR0917 - click passes by name
    folders: tuple[Path, ...],
    checkpoint: Path | None,
    out: Path | None,
    queries: Path | None,
    gallery: Path | None,
    bootstrap: int,
    runtime: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Measure how well a model tells apart the classes of FOLDERs of class folders (FOLDER/class/picture).

    Every picture is a query once, against all the others of its FOLDER. Prints R@k, R-precision, MAP@R, the F1 of a
    k-NN vote, AUC, EER and TAR, each with the 95 % interval that resampling the pictures gives.

    \b
    umbel evaluate photos --out report              the model in use, report/card.md
    umbel evaluate photos --against old.safetensors           two models compared
    umbel evaluate photos --checkpoint mine.safetensors \\
        --split mine.split.json           only pictures that it was not trained on
    umbel evaluate --held-out orchids                         classes it never saw
    umbel evaluate --queries asked --gallery shelf   the first, searched in the second

    With --out it also writes evaluation.json, card.md and pictures: the ROC, the similarities of same and different
    pairs, the confusion matrix, the best and worst queries, and a map of the gallery. --against also takes the weights
    of a timm backbone, which stand for a model without fine-tuning. How to read it all: docs/how-to/evaluate.md.
    """
    if (queries is None) != (gallery is None):
        raise click.UsageError("--queries and --gallery go together: the first are searched in the second.")
    apart = (queries, gallery) if queries and gallery else None
    if not (folders or chosen["held_out"] or apart):
        raise click.UsageError("Name a FOLDER to evaluate on, or one with --held-out, or --queries and --gallery.")
    from ml.evaluation.evaluate import evaluate as run
    from ml.evaluation.report import make_folder, report, write_report
    from ml.shipped import find_checkpoint

    config = settings().model_copy(update={"runtime": runtime} if runtime else {})
    if out:
        make_folder(out)
    with progress(quiet=as_json) as bars:
        watch = _watch(bars)
        options: dict[str, Any] = {"apart": apart, "resamples": bootstrap, "watch": watch}
        done = run(folders, checkpoint or find_checkpoint(config), config, **options, **chosen)
        found = report(done)
        if out:
            write_report(done, found, out, config, watch)
    if as_json:
        print_json(found)
    else:
        _show(found, out)


def _watch(bars: Progress) -> Watch:
    """A bar for each thing that is done."""
    tasks: dict[str, TaskID] = {}

    def watch(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total, note="")
        bars.update(tasks[stage], completed=done, total=total)

    return watch


def _show(report: dict[str, Any], out: Path | None) -> None:
    from ml.evaluation.report import figures
    from ml.evaluation.sets import size_in_words

    for one in report["sets"]:
        kind = "" if one["kind"] == one["name"] else f", {one['kind']}"
        size = size_in_words(one["kind"], one["asking"], one["gallery"], one["classes"])
        say(f"{report['model']['name']} on {one['name']}{kind}: {size}", bold=True)
        if lost := one["asking"] - one["queries"]:
            say(f"{lost:,} of these have no other of their class to find, and are not counted.")
        table(None, ("metric", "value", "95 %"), figures(one["metrics"]), right="value")
        for other in one["against"]:
            say()
            say(f"… against {other['name']}", bold=True)
            differences = figures(other["difference"], sign="+")
            rows = (one[:2] + two[1:] for one, two in zip(figures(other["metrics"]), differences, strict=True))
            table(None, ("metric", "its value", "difference", "95 %"), rows, right="difference")
        say()
    for line in _remarks(report["data"], Path(report["model"]["checkpoint"])):
        say(line)
    if out:
        say(f"The report: {out / 'card.md'}")


def _remarks(data: dict[str, Any], checkpoint: Path) -> Iterator[str]:
    left_out = data["left_out"]
    if left_out["trained_on"]:
        yield f"{left_out['trained_on']:,} pictures left out: the model was trained on them."
    if data["split"] is None:
        written = checkpoint.with_suffix(".split.json")
        more = f"; --split {written} leaves those out" if written.is_file() else ""
        yield f"No --split was given: the model may have been trained on some of these pictures{more}."
    elif data["unknown_to_the_split"]:
        yield f"{data['unknown_to_the_split']:,} pictures are not in the split and count as new."
    if left_out["duplicates"]:
        yield f"{left_out['duplicates']:,} pictures left out: others have the same bytes."
    yield from skipped_lines([(one["path"], one["reason"]) for one in data["skipped"]])

"""A training run as `umbel train` sees it: its bars, its report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import Progress

from cli.bars import say_above
from cli.config import settings
from cli.nearness import nearness
from cli.output import say, skipped_lines, table
from ml.training.files import RunFiles
from ml.training.recipe import Recipe

if TYPE_CHECKING:
    from ml.data.dataset import Dataset
    from ml.data.duplicates import Leakage
    from ml.training.progress import Epoch
    from ml.training.tensorboard import Board
    from ml.training.train import Result, Watcher

INT8_PICTURES = 400  # of the run, at most, that teach and judge a model in int8

Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """How to train, and where it goes. start: weights to begin with; tensorboard: a folder for its events.

    include_hidden: also on what is hidden, or kept beside pictures by systems and programs. processes, workers,
    hold_out, domain, refit: see `ml.training.train`. int8: also quantize what came of it.
    """

    files: RunFiles
    start: Path | None
    recipe: Recipe
    tensorboard: Path | None
    fresh: bool
    include_hidden: bool
    processes: int | None = None
    workers: int | None = None
    hold_out: tuple[Path, ...] = ()
    domain: str | None = None
    refit: bool = False
    int8: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        """What makes the run this run, besides its images."""
        known: dict[str, Any] = {"recipe": self.recipe.as_dict(), "start": str(self.start and self.start.absolute())}
        known |= {"hold_out": [str(folder.absolute()) for folder in self.hold_out], "domain": self.domain}
        return known | {"refit": self.refit, "int8": self.int8}

    def learn(self, folders: Sequence[Path], bars: Progress) -> Report:
        """Train on folders of class folders; the report is plain JSON. Raises what `ml.training.train` does."""
        from ml.training.tensorboard import Board
        from ml.training.train import train

        with closing(Board(self.tensorboard)) if self.tensorboard else nullcontext() as board:
            watcher = _watcher(bars, board)
            options: dict[str, Any] = {"fresh": self.fresh, "include_hidden": self.include_hidden}
            options |= {"processes": self.processes, "workers": self.workers, "hold_out": self.hold_out}
            options |= {"domain": self.domain, "refitted": self.refit, "settings": settings(), "watcher": watcher}
            result = train(folders, self.files.out, self.start, self.recipe, **options)
        return _report(result) | ({"int8": self._in_int8(result, bars)} if self.int8 else {})

    def _in_int8(self, result: Result, bars: Progress) -> Report:
        """The checkpoint that came of it in int8, beside it, by the pictures of the run."""
        import numpy as np

        from ml.quantization import save_quantized

        dataset, name = result.dataset, f"{self.files.name}-int8"
        usable = np.flatnonzero(~dataset.is_aside)
        drawn = np.random.default_rng(self.recipe.seed).permutation(usable)[:INT8_PICTURES]
        pictures = [dataset.served[index] for index in drawn.tolist()]
        path, source = self.files.out / f"{name}.safetensors", f"those that {self.files.name} was trained with"
        card = save_quantized(
            path, result.files.checkpoint, pictures, name=name, source=source, tell=partial(say_above, bars)
        )
        return {"checkpoint": str(path), "card": card.model_dump(mode="json")}


def _watcher(bars: Progress, board: Board | None) -> Watcher:
    """A bar over all images, then one over all steps, and a line for each epoch."""
    from ml.training.train import Watcher

    task = bars.add_task("Reading pictures", total=None, note="")

    def reading(done: int, total: int) -> None:
        bars.update(task, completed=done, total=total)

    def looking(done: int, total: int) -> None:
        bars.update(task, description="Looking at pictures", completed=done, total=total)

    def begin(dataset: Dataset, leakage: Leakage, done: int, steps: int) -> None:
        say_above(bars, leakage.text(dataset))
        if done:
            say_above(bars, f"Going on after step {done:,} of {steps:,}.")
        images = len(dataset.labels) - int(dataset.is_aside.sum())
        bars.reset(task, description=f"Training on {images:,} pictures", total=steps, completed=done)
        if board:
            board.begin(done)

    def step(loss: float) -> None:
        bars.update(task, advance=1, note=f"loss {loss:.3f}")
        if board:
            board.step(loss)

    def epoch(done: Epoch) -> None:
        parts = (f"{name}: R@1 {one.r_at_1:.3f}, MAP@R {one.map_at_r:.3f}" for name, one in done.metrics.items())
        which = f"Member {done.member + 1}, epoch {done.number} at {done.size} px, loss {done.loss:.3f}. "
        say_above(bars, which + "; ".join(parts))
        if board:
            board.epoch(done)

    def remark(text: str) -> None:
        say_above(bars, text)

    def refit(images: int, done: int, steps: int) -> None:
        bars.reset(task, description=f"Refitting on {images:,} pictures", total=steps, completed=done)

    return Watcher(reading, looking, begin, remark, step, epoch, refit)


def show_training(report: Report) -> None:
    """What the model came to, beside the plain features that it started from."""
    card, rows = report["card"], []
    for name, metrics in (card["metrics"]["validation"] | card["metrics"].get("held_out", {})).items():
        rows.append((f"{name}: before", *_row(card["metrics"]["start_features"][name])))
        rows.append((name, *_row(metrics)))
        if name in card["metrics"].get("refitted", {}):
            rows.append((f"{name}: refitted", *_row(card["metrics"]["refitted"][name])))
    figures = ("Pictures", "R@1", "R@5", "MAP@R", "F1", "EER")
    table(card["name"], ("Judged on", *figures), rows, right=" ".join(figures))
    if note := card["provenance"]["note"]:
        say(f"{note[0].upper()}{note[1:]}.")
    for line in skipped_lines([(one["path"], one["reason"]) for one in report["skipped"]]):
        say(line)
    say(f"Written to {report['checkpoint']}; curves: {report['curves']}")
    if "int8" in report:
        say(f"In int8: {report['int8']['checkpoint']}. {nearness(report['int8']['card'])}")


def _row(one: dict[str, float | None]) -> list[str]:
    figures = (one[key] for key in ("r_at_1", "r_at_5", "map_at_r", "knn_macro_f1", "eer"))
    return [str(one["pictures"]), *("unknown" if figure is None else f"{figure:.3f}" for figure in figures)]


def _report(result: Result) -> Report:
    return {
        "checkpoint": str(result.files.checkpoint),
        "curves": str(result.files.curves),
        "card": result.card.model_dump(mode="json"),
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

"""A run's curves as one picture: loss, R@1 and MAP@R, while it goes and when it is done."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ml.evaluation.metrics import Metrics
from ml.training.progress import Progress
from ml.training.recipe import Recipe

INK, QUIET, GRID = "#222426", "#7a7e82", "#e4e2dd"
COLOURS = ("#3e54ac", "#c47634", "#2e8b57", "#8a4fa0", "#b03a48", "#4a7c8c")


def draw_curves(path: Path, progress: Progress, baseline: dict[str, Metrics], *, recipe: Recipe, steps: int) -> None:
    """Write a PNG: the loss of each step, and R@1 and MAP@R of each epoch on each validation set.

    baseline: what the untrained features reach, drawn as dashes; steps: in the whole run, the picture's width.
    """
    figure = Figure(figsize=(13, 4.2), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    loss, recall, precision = figure.subplots(1, 3)
    figure.suptitle(recipe.name, x=0.01, ha="left", color=INK, fontsize=12, fontweight="bold")
    _loss(loss, progress, steps)
    for axes, name, field in ((recall, "R@1", "r_at_1"), (precision, "MAP@R", "map_at_r")):
        _metric(axes, progress, baseline, field, recipe)
        _plain(axes, name, "epoch")
    if baseline:
        lines, names = recall.get_legend_handles_labels()
        names[-1] += " (dashed: before training)"
        figure.legend(
            lines, names, loc="outside lower right", ncols=len(names), frameon=False, labelcolor=INK, fontsize=9
        )
    partial = path.with_name(f".{path.name}")
    figure.savefig(partial, format="png", dpi=110)
    partial.replace(path)


def _loss(axes: Axes, progress: Progress, steps: int) -> None:
    losses = np.array(progress.losses).reshape(-1, 3)
    at = np.arange(1, len(losses) + 1)
    axes.plot(at, losses[:, 0], color=COLOURS[0], alpha=0.2, linewidth=0.8)
    parts = ("loss", "of it ArcFace") if (losses[:, 0] != losses[:, 1]).any() else ("loss",)
    for column, (name, colour) in enumerate(zip(parts, COLOURS, strict=False)):
        smooth = _smooth(losses[:, column])
        axes.plot(at[len(at) - len(smooth) :], smooth, color=colour, label=name, linewidth=1.6)
    axes.set_xlim(0, max(steps, 1))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, labelcolor=INK)
    _plain(axes, "loss", "step")


def _smooth(values: np.ndarray, window: int = 25) -> np.ndarray:
    window = min(window, len(values), 1 + len(values) // 4)  # a short run keeps its shape
    return np.convolve(values, np.ones(window) / window, "valid") if window else values


def _metric(axes: Axes, progress: Progress, baseline: dict[str, Metrics], field: str, recipe: Recipe) -> None:
    """One line a validation set, broken where another member of the soup begins."""
    for name, colour in zip(baseline, _cycle(len(baseline)), strict=True):
        for member in range(recipe.members):
            epochs = progress.of_member(member)
            at = [member * recipe.epochs + one.number for one in epochs]
            values = [getattr(one.metrics[name], field) for one in epochs]
            axes.plot(at, values, color=colour, marker="o", markersize=4, label=name if member == 0 else None)
        axes.axhline(getattr(baseline[name], field), color=colour, linestyle=(0, (4, 3)), linewidth=1)
    if not baseline:
        axes.text(0.5, 0.5, "no validation pictures", ha="center", va="center", color=QUIET, transform=axes.transAxes)
    for member in range(1, recipe.members):
        axes.axvline(member * recipe.epochs + 0.5, color=GRID, linewidth=1.2)
    axes.set_xlim(0.5, recipe.members * recipe.epochs + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _cycle(count: int) -> Sequence[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def _plain(axes: Axes, title: str, below: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=11)
    axes.set_xlabel(below, color=QUIET)
    axes.tick_params(colors=QUIET, length=0)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)

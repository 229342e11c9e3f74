"""A run's curves as one picture: loss, R@1 and MAP@R, while it goes and when it is done."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ml.evaluation import style
from ml.evaluation.metrics import Metrics
from ml.evaluation.style import ACCENT, DIFFERENT, INK, LINE, QUIET, class_colors
from ml.training.progress import Progress
from ml.training.recipe import Recipe


def draw_curves(path: Path, progress: Progress, baseline: dict[str, Metrics], *, recipe: Recipe, steps: int) -> None:
    """Write a PNG: the loss of each step, and R@1 and MAP@R of each epoch on each validation set.

    baseline: what the untrained features reach, drawn as dashes; steps: in the whole run, the picture's width.
    """
    columns = 4 if len(baseline) > 4 else max(len(baseline), 1)
    rows = -(-len(baseline) // columns)
    figure = style.figure(13, 4.2 + 0.22 * max(rows - 1, 0), recipe.name)
    loss, recall, precision = figure.subplots(1, 3)
    _loss(loss, progress, steps)
    for axes, name, field in ((recall, "R@1", "r_at_1"), (precision, "MAP@R", "map_at_r")):
        _metric(axes, progress, baseline, field, recipe)
        axes.set_xlabel("epoch")
        style.plain(axes, name)
    if baseline:
        lines, names = recall.get_legend_handles_labels()
        names[-1] += " (dashed: before training)"
        figure.legend(lines, names, loc="outside lower right", ncols=columns, frameon=False, labelcolor=INK, fontsize=9)
    style.save(figure, path)


def _loss(axes: Axes, progress: Progress, steps: int) -> None:
    losses = np.array(progress.losses).reshape(-1, 3)
    at = np.arange(1, len(losses) + 1)
    axes.plot(at, losses[:, 0], color=ACCENT, alpha=0.2, linewidth=0.8)
    parts = ("loss", "of it ArcFace") if (losses[:, 0] != losses[:, 1]).any() else ("loss",)
    for column, (name, colour) in enumerate(zip(parts, (ACCENT, DIFFERENT), strict=False)):
        smooth = _smooth(losses[:, column])
        axes.plot(at[len(at) - len(smooth) :], smooth, color=colour, label=name, linewidth=1.6)
    axes.set_xlim(0, max(steps, 1))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, labelcolor=INK)
    axes.set_xlabel("step")
    style.plain(axes, "loss")


def _smooth(values: np.ndarray, window: int = 25) -> np.ndarray:
    window = min(window, len(values), 1 + len(values) // 4)  # a short run keeps its shape
    return np.convolve(values, np.ones(window) / window, "valid") if window else values


def _metric(axes: Axes, progress: Progress, baseline: dict[str, Metrics], field: str, recipe: Recipe) -> None:
    """One line a validation set, broken where another member of the soup begins."""
    for name, colour in zip(baseline, class_colors(len(baseline)), strict=True):
        for member in range(recipe.members):
            epochs = progress.of_member(member)
            at = [member * recipe.epochs + one.number for one in epochs]
            values = [getattr(one.metrics[name], field) for one in epochs]
            axes.plot(at, values, color=colour, marker="o", markersize=4, label=name if member == 0 else None)
        axes.axhline(getattr(baseline[name], field), color=colour, linestyle=(0, (4, 3)), linewidth=1)
    if not baseline:
        axes.text(0.5, 0.5, "no validation pictures", ha="center", va="center", color=QUIET, transform=axes.transAxes)
    for member in range(1, recipe.members):
        axes.axvline(member * recipe.epochs + 0.5, color=LINE, linewidth=1.2)
    axes.set_xlim(0.5, recipe.members * recipe.epochs + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))

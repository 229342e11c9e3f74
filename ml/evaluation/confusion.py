"""The confusion matrix of the k-NN vote as a figure, for five classes or for a hundred."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ml.evaluation.metrics import Labels
from ml.evaluation.style import CARD, DIFFERENT, INK, LINE, QUIET, SAME, figure, plain

MOST = 80  # classes shown; of more, those with the most mistakes
ROOMY = 16  # up to so many classes every number is written
NOTABLE = 0.1  # beyond that, mistakes of at least this share of a class

RIGHT = LinearSegmentedColormap.from_list("right", [CARD, SAME])
WRONG = LinearSegmentedColormap.from_list("wrong", [CARD, DIFFERENT])


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """(C, C): pictures of each class (row) by the class they were taken for (column)."""
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def confusion_figure(matrix: NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """Shares of each row: green on the diagonal, amber beside it, so that mistakes stand out however few.

    matrix: (C, C) pictures, true class by row; classes: their names.
    """
    shown = _worst(matrix)
    left_out = len(classes) - len(shown)
    if left_out:
        title += f"\nthe {len(shown)} classes with the most mistakes of {len(classes)}"
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    part, counts = share[np.ix_(shown, shown)], matrix[np.ix_(shown, shown)]
    names = [_short(classes[index]) for index in shown]
    side = 2.6 + max(0.5 * len(shown), 2.6) if len(shown) <= ROOMY else 3.2 + 0.2 * len(shown)
    made = figure(side + 0.3, side, "What is taken for what")
    axes = made.subplots()
    plain(axes, title)
    axes.imshow(_colours(part), aspect="equal", interpolation="nearest")
    _names(axes, names)
    for row, column in np.argwhere(counts > 0):
        _cell(axes, row, column, counts[row, column], part[row, column], roomy=len(shown) <= ROOMY)
    return made


def _worst(matrix: NDArray[np.int64]) -> NDArray[np.intp]:
    """The classes to show, in their order."""
    mistakes = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
    return np.sort(np.argsort(-mistakes, kind="stable")[:MOST])


def _colours(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C, C, 4). Mistakes get their full colour from a half on: most are few."""
    diagonal = np.eye(len(share), dtype=bool)[..., None]
    found: NDArray[np.float64] = np.where(diagonal, RIGHT(0.75 * share), WRONG(np.sqrt(np.minimum(2 * share, 1))))
    return found


def _names(axes: Axes, names: Sequence[str]) -> None:
    roomy = len(names) <= ROOMY
    ticks = range(len(names))
    axes.set_xticks(ticks, names, rotation=40 if roomy else 90, ha="right" if roomy else "center", parse_math=False)
    axes.set_yticks(ticks, names, parse_math=False)
    if roomy:
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
    axes.tick_params(labelsize=9 if roomy else 7, labelcolor=INK)
    axes.set_xticks(np.arange(-0.5, len(names)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(names)), minor=True)
    axes.grid(visible=False)
    axes.grid(which="minor", color=LINE, linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("what its nearest neighbours vote for")
    axes.set_ylabel("what it is")


def _cell(axes: Axes, row: int, column: int, count: int, share: float, *, roomy: bool) -> None:
    if roomy:
        colours = (CARD, CARD) if share > 0.6 else (INK, QUIET)
        for text, below, size, colour in (
            (f"{count:,}", -0.1, 9.5, colours[0]),
            (_percent(share), 0.24, 6.5, colours[1]),
        ):
            axes.text(column, row + below, text, ha="center", va="center", color=colour, fontsize=size)
    elif row != column and share >= NOTABLE:
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=INK, fontsize=5.5)


def _percent(share: float) -> str:
    """In whole per cent, but never 0 or 100 where it is not."""
    whole = round(100 * share)
    return "< 1 %" if whole == 0 else "> 99 %" if whole == 100 and share < 1 else f"{whole} %"


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"

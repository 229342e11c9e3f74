"""The confusion matrix of the k-NN vote as a figure, for five classes or for a hundred."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ml.evaluation.style import INK, figure, plain

MOST = 80  # classes shown; of more, those with the most mistakes
ROOMY = 16  # classes up to which every count is written


def confusion_figure(matrix: NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """Each row's shares as color, its counts as text where there is room.

    matrix: (C, C) images, true class by row; classes: their names.
    """
    from sklearn.metrics import ConfusionMatrixDisplay  # noqa: PLC0415 - takes a second to import

    mistakes = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
    shown = np.sort(np.argsort(-mistakes, kind="stable")[:MOST])
    if len(shown) < len(classes):
        title += f"\nthe {len(shown)} classes with the most mistakes of {len(classes)}"
    counts = matrix[np.ix_(shown, shown)]
    share = counts / np.maximum(matrix.sum(1)[shown, None], 1)
    roomy = len(shown) <= ROOMY
    side = 2.6 + max(0.5 * len(shown), 2.6) if roomy else 3.2 + 0.2 * len(shown)
    made = figure(side + 0.3, side, "What is taken for what")
    axes = made.subplots()
    plain(axes, title)
    display = ConfusionMatrixDisplay(share, display_labels=[_short(classes[index]) for index in shown])
    # The color of a cell goes with the root of its share: most mistakes are few, and must be seen all the same.
    display.plot(ax=axes, cmap="Greens", colorbar=False, include_values=roomy)
    display.im_.set(data=np.sqrt(share), clim=(0, 1))
    if roomy:
        for cell, count, part in zip(display.text_.flat, counts.flat, share.flat, strict=True):
            cell.set(text=f"{count:,}" if count else "", color="white" if part > 0.4 else INK, fontsize=9)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set(parse_math=False, color=INK, fontsize=9 if roomy else 7)
    for label in axes.get_xticklabels():
        label.set(
            rotation=40 if roomy else 90, ha="right" if roomy else "center", rotation_mode="anchor" if roomy else None
        )
    axes.grid(visible=False)
    axes.set(xlabel="what its nearest neighbors vote for", ylabel="what it is")
    return made


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"

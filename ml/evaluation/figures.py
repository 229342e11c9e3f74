"""The figures of an evaluation and of a calibration: scikit-learn's displays in the style of the contact sheets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import NDArray

from ml.evaluation.intervals import FAR_GRID
from ml.evaluation.style import ACCENT, CARD, DIFFERENT, INK, MODELS, SAME, figure, plain
from ml.evaluation.verification import Rates, Roc
from umbel.models.calibration import Calibration

WIDTH = 5.6  # inches, of a set's panel
MOST_CLASSES = 80  # in a confusion matrix; of more, those with the most mistakes
ROOMY = 16  # classes up to which every count is written
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "labelcolor": INK}


@dataclass(frozen=True, slots=True)
class Curve:
    """One model's decisions. band: the interval of its TAR at each rate of FAR_GRID, see intervals.band."""

    name: str
    roc: Roc
    band: tuple[Rates, Rates] | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """One set and its curves, that of the judged model first."""

    title: str
    curves: Sequence[Curve]


def roc_figure(panels: Sequence[Panel]) -> Figure:
    """True against false acceptance, a panel a set, the latter on a logarithmic scale: small ones are what matters."""
    title = "Same class or not? Circle: both errors equal"
    title += "; shade: 95 % interval" if panels[0].curves[0].band else ""
    made = figure(WIDTH * len(panels), 5 + 0.2 * len(panels[0].curves), title)
    for axes, panel in zip(made.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for position, curve in enumerate(panel.curves):
            _roc(axes, curve, MODELS[position % len(MODELS)], judged=position == 0)
        axes.set(xscale="log", xlim=(FAR_GRID[0], 1), ylim=(0, 1.02), aspect="auto")
        axes.set(xlabel="different pairs wrongly accepted (FAR)", ylabel="same pairs accepted (TAR)")
        axes.xaxis.set_minor_locator(NullLocator())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:g}%"))
        plain(axes, panel.title)
        axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.12), **LEGEND)
    return made


def _roc(axes: Axes, curve: Curve, color: Any, *, judged: bool) -> None:
    from sklearn.metrics import RocCurveDisplay  # noqa: PLC0415 - takes a second to import

    roc, style = curve.roc, {"color": color, "linewidth": 2 if judged else 1.3, "zorder": 4 if judged else 3}
    label = f"{curve.name}: AUC {roc.auc:.3f}, EER {roc.eer:.1%}"
    RocCurveDisplay(fpr=roc.far, tpr=roc.tar).plot(ax=axes, name=label, curve_kwargs=style)
    axes.plot(roc.eer, 1 - roc.eer, "o", markersize=5, color=CARD, markeredgecolor=color, zorder=5)
    if curve.band is not None:
        axes.fill_between(FAR_GRID, *curve.band, color=color, alpha=0.16 if judged else 0.09, linewidth=0, zorder=2)


def similarity_figure(panels: Sequence[Panel]) -> Figure:
    """How similar same and different pairs are: a column a set, a row a model, the threshold of equal errors marked."""
    rows = len(panels[0].curves)
    made = figure(WIDTH * len(panels), 1.2 + 2.6 * rows, "How similar are images of one class, and of two?")
    grid = made.subplots(rows, len(panels), squeeze=False, sharex="col")
    for column, panel in zip(grid.T, panels, strict=True):
        for axes, curve in zip(column, panel.curves, strict=True):
            _similarities(axes, curve.roc)
            heading = f"{panel.title}\n{curve.name}" if axes is column[0] else curve.name
            plain(axes, f"{heading}: {curve.roc.eer:.1%} of either wrong from {curve.roc.eer_threshold:.2f} on")
            axes.grid(visible=False, axis="y")
        column[-1].set_xlabel("cosine similarity")
    made.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, **LEGEND)
    return made


def _similarities(axes: Axes, roc: Roc) -> None:
    scores = roc.thresholds[1:]
    bins = int(np.clip(roc.same**0.5, 20, 90))
    for name, color, rates in (("different classes", DIFFERENT, roc.far), ("same class", SAME, roc.tar)):
        axes.hist(scores, bins, weights=np.diff(rates), histtype="stepfilled", color=color, alpha=0.45, label=name)
    axes.axvline(roc.eer_threshold, color=INK, linewidth=1)
    axes.set_yticks([])


def confusion_figure(matrix: NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """Each row's shares as color, its counts as text where there is room.

    matrix: (C, C) images, true class by row; classes: their names.
    """
    from sklearn.metrics import ConfusionMatrixDisplay  # noqa: PLC0415 - takes a second to import

    mistakes = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
    shown = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES])
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
    turned: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if roomy else {"rotation": 90}
    for label in axes.get_xticklabels():
        label.set(**turned)
    axes.grid(visible=False)
    axes.set(xlabel="what its nearest neighbors vote for", ylabel="what it is")
    return made


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


def reliability_figure(calibration: Calibration) -> Figure:
    """Above: how often votes of a probability were right, on the dotted line if they keep their word. Below: how many.

    Votes left of the threshold are answered with "unknown". docs/images/reliability.png is that of the shipped model.
    """
    from sklearn.calibration import CalibrationDisplay  # noqa: PLC0415 - takes a second to import

    quality, threshold = calibration.quality, calibration.vote.unknown_below
    said, right, weight = (
        [getattr(group, name) for group in quality.reliability] for name in ("probability", "right", "weight")
    )
    made = figure(6.4, 6.2, "Does a vote keep its word?")
    above, below = made.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    CalibrationDisplay(right, said, said).plot(ax=above, name="votes", color=ACCENT)
    below.bar(said, weight, width=0.06, color=ACCENT)
    for axes in (above, below):
        axes.axvline(threshold, color=DIFFERENT, linewidth=1.3)
    above.set(xlabel="", ylabel="share that was right")
    below.set(xlabel=f"probability given to the best label; below {threshold:.0%}: unknown", ylabel="share of votes")
    plain(
        above,
        f"off by {quality.calibration_error:.1%} · {quality.answered:.0%} of known kinds answered · "
        f"{quality.accuracy:.0%} right",
    )
    plain(below)
    above.legend(loc="upper left", **LEGEND)
    return made

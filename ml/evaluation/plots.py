"""Figures of verification: the ROC, and how similar same and different pairs are."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from ml.evaluation.intervals import FAR_GRID
from ml.evaluation.style import CARD, DIFFERENT, INK, LINE, MODELS, QUIET, SAME, figure, plain
from ml.evaluation.verification import Rates, Roc

OPERATING = (0.001, 0.01)  # the false acceptance rates at which TAR is reported
WIDTH, ACROSS = 5.6, 3  # of a panel, inches; panels side by side

_EQUAL, _SHADED = "both errors equal (EER)", "; shaded: 95 % interval"
_LEGEND: dict[str, Any] = {"fontsize": 8.5, "labelcolor": INK}


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
    most = max(len(panel.curves) for panel in panels)
    columns = min(len(panels), ACROSS)
    rows = ceil(len(panels) / columns)
    made = figure(WIDTH * columns, (5 + 0.2 * most) * rows, "Same class or not? True against false acceptance")
    places = list(made.subplots(rows, columns, squeeze=False).flat)
    for number, (axes, panel) in enumerate(zip(places, panels, strict=False)):
        axes.plot(FAR_GRID, 1 - FAR_GRID, color=QUIET, linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)
        for far in OPERATING:
            axes.axvline(far, color=LINE, linewidth=1.1, zorder=1)
        lines = [_roc(axes, curve, position) for position, curve in enumerate(panel.curves)]
        key = _EQUAL + ("" if panel.curves[0].band is None else _SHADED)
        lines.append(Line2D([], [], color=CARD, marker="o", markeredgecolor=QUIET, markersize=5, label=key))
        _rates(axes, first=not number % columns)
        plain(axes, panel.title)
        axes.grid(visible=False, axis="x")
        axes.legend(handles=lines, loc="upper left", bbox_to_anchor=(-0.02, -0.12), frameon=False, **_LEGEND)
    for axes in places[len(panels) :]:
        axes.set_visible(False)
    return made


def _roc(axes: Axes, curve: Curve, position: int) -> Line2D:
    """The curve, its band, its operating points, and where the two errors are equal."""
    colour, judged = MODELS[position % len(MODELS)], position == 0
    tar = np.array([curve.roc.tar_at(far) for far in FAR_GRID])
    label = f"{curve.name}: AUC {curve.roc.auc:.3f}, EER {percent(curve.roc.eer)}"
    line = axes.plot(
        FAR_GRID, tar, color=colour, linewidth=2 if judged else 1.3, label=label, zorder=4 if judged else 3
    )
    if curve.band is not None:
        axes.fill_between(FAR_GRID, *curve.band, color=colour, alpha=0.16 if judged else 0.09, linewidth=0, zorder=2)
    axes.plot(curve.roc.eer, 1 - curve.roc.eer, "o", markersize=5, color=CARD, markeredgecolor=colour, zorder=5)
    for far in OPERATING:
        tar_there = curve.roc.tar_at(far)
        axes.plot(far, tar_there, "o", markersize=4, color=colour, zorder=5)
        if judged:
            high = tar_there > 0.93  # no room above the curve
            axes.annotate(
                percent(tar_there, 0),
                (far, tar_there),
                (6, -11) if high else (-6, 5),
                textcoords="offset points",
                ha="left" if high else "right",
                fontsize=8.5,
                color=colour,
            )
    return line[0]


def _rates(axes: Axes, *, first: bool) -> None:
    axes.set_xscale("log")
    axes.set_xlim(FAR_GRID[0], 1)
    axes.set_ylim(0, 1.02)
    axes.set_xticks([0.0001, 0.001, 0.01, 0.1, 1])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda far, _: f"{100 * far:g} %"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda tar, _: f"{100 * tar:.0f} %"))
    axes.tick_params(axis="x", pad=7)
    axes.set_xlabel("different pairs wrongly accepted (FAR)")
    axes.set_ylabel("same pairs accepted (TAR)" if first else "")


def similarity_figure(panels: Sequence[Panel]) -> Figure:
    """How similar same and different pairs are: a column a set, a row a model, the threshold of equal errors marked."""
    rows = max(len(panel.curves) for panel in panels)
    made = figure(WIDTH * len(panels), 1.2 + 2.4 * rows, "How similar are pictures of one class, and of two?")
    grid = made.subplots(rows, len(panels), squeeze=False, sharex="col")
    for column, panel in enumerate(panels):
        for row, curve in enumerate(panel.curves):
            axes = grid[row, column]
            _similarities(axes, curve.roc)
            title = curve.name if row else panel.title if rows == 1 else f"{panel.title}\n{curve.name}"
            plain(axes, title)
            axes.grid(visible=False, axis="y")
            axes.set_yticks([])
        axes.set_xlabel("cosine similarity")
    made.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, **_LEGEND)
    return made


def _similarities(axes: Axes, roc: Roc) -> None:
    scores = roc.thresholds[1:]
    ends = (float(scores.min()), float(scores.max())) if len(scores) else (-1.0, 1.0)
    edges = np.linspace(*ends, int(np.clip(roc.same**0.5, 20, 90)) + 1)
    top = 0.0
    for name, colour, rates in (("different classes", DIFFERENT, roc.far), ("same class", SAME, roc.tar)):
        share, _ = np.histogram(scores, edges, weights=np.diff(rates))
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.28, linewidth=0)
        axes.stairs(share, edges, color=colour, linewidth=1.4, label=name)
        top = max(top, float(share.max()))
    axes.set_ylim(0, 1.35 * top or 1)  # headroom for what is written
    left = 2 * roc.eer_threshold < sum(ends)
    axes.axvline(roc.eer_threshold, color=INK, linewidth=1)
    where: dict[str, Any] = {
        "xytext": (6 if left else -6, -8),
        "textcoords": "offset points",
        "fontsize": 8.5,
        "color": INK,
    }
    line = f"accepted from {roc.eer_threshold:.2f} on:\n{percent(roc.eer)} of either wrong"
    at = (roc.eer_threshold, 1)
    axes.annotate(line, at, xycoords=("data", "axes fraction"), va="top", ha="left" if left else "right", **where)


def percent(share: float, digits: int = 1) -> str:
    """0.0432 → "4.3 %"."""
    return f"{100 * share:.{digits}f} %"

"""The reliability diagram: does a vote that says 80 % come true 80 times in a hundred?"""

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ml.evaluation.style import ACCENT, DIFFERENT, INK, LINE, QUIET, SAME, figure, plain
from umbel.models.calibration import Calibration


def reliability_figure(calibration: Calibration, title: str = "Does a vote keep its word?") -> Figure:
    """Above: how often votes of a probability were right, on the dotted line if they keep their word. Below: how many.

    Votes left of the threshold are answered with "unknown".
    """
    quality, threshold = calibration.quality, calibration.vote.unknown_below
    made = figure(6.4, 6.2, title)
    above, below = made.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    said = [one.probability for one in quality.reliability]
    above.plot((0, 1), (0, 1), color=QUIET, linewidth=1, linestyle=(0, (1, 3)))
    above.plot(said, [one.right for one in quality.reliability], color=ACCENT, marker="o", markersize=5, linewidth=1.8)
    below.bar(said, [one.weight for one in quality.reliability], width=0.06, color=ACCENT)
    plain(above, _sentence(calibration))
    plain(below)
    for axes in (above, below):
        axes.axvline(threshold, color=DIFFERENT, linewidth=1.3)
        axes.axvspan(threshold, 1, color=SAME, alpha=0.06, linewidth=0)
    above.annotate("unknown", (threshold, 0.97), (-6, 0), textcoords="offset points", ha="right", color=INK, fontsize=9)
    above.annotate("answered", (threshold, 0.97), (6, 0), textcoords="offset points", color=INK, fontsize=9)
    above.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that was right")
    below.set(xlabel="probability given to the best label", ylabel="share of votes")
    for axis in (above.xaxis, above.yaxis, below.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    above.axhline(0, color=LINE, linewidth=0.8)
    return made


def _sentence(calibration: Calibration) -> str:
    quality = calibration.quality
    return (
        f"off by {quality.calibration_error:.1%} · {quality.answered:.0%} of known kinds answered · "
        f"{quality.accuracy:.0%} right"
    )

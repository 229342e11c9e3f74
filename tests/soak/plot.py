"""The picture of a soak: what was used, by the minute."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

MOST_LINES = 8  # in one panel; those that reach the highest

# Kinds of series, and the title of their panel.
PANELS = {
    "memory_mb": "memory (PSS), MB",
    "connections": "connections",
    "files": "open files",
    "table_mb": "tables, MB",
    "index_mb": "indexes, MB",
    "dead_rows": "dead rows",
    "queue": "queues",
    "disk_mb": "disk, MB",
    "search_ms": "search by a picture, ms (median of 10 s)",
    "lag_seconds": "clients behind their time, s",
}


def draw(rows: Sequence[dict[str, float]], path: Path) -> None:
    """Write the picture, a panel a kind."""
    with mpl.rc_context({"font.size": 8}):
        figure, panels = plt.subplots(len(PANELS) // 2, 2, figsize=(11, 13), layout="constrained", sharex=True)
        for axes, (kind, title) in zip(panels.flat, PANELS.items(), strict=True):
            _panel(axes, rows, kind, title)
        for axes in panels[-1]:
            axes.set_xlabel("minutes")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=80)
        plt.close(figure)


def _panel(axes: Axes, rows: Sequence[dict[str, float]], kind: str, title: str) -> None:
    names = {name for row in rows for name in row if name.partition(".")[0] == kind}
    highest = sorted(names, key=lambda name: -max(row.get(name, 0) for row in rows))[:MOST_LINES]
    for name in highest:
        points = [(row["seconds"] / 60, row[name]) for row in rows if name in row]
        axes.plot(*zip(*points, strict=True), linewidth=1, label=name.partition(".")[2])
    axes.set_title(title, loc="left")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    if names:
        axes.legend(frameon=False, fontsize=6, loc="upper left", bbox_to_anchor=(1, 1))

"""The plots of docs/performance-details.md: one a question that has one, drawn from its result."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.common import RESULTS

IMAGES = Path(__file__).parent.parent / "docs" / "images" / "performance"
OURS, OTHER, TARGET = "#2f6f4f", "#9aa5a0", "#b5483a"

Result = dict[str, Any]


def draw(name: str, result: Result) -> None:
    """Write the picture of a result, if it has one; one that the benchmark drew itself (a PNG) is taken over."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    if name in PLOTS:
        with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path", "font.size": 9}):
            figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
            axes.spines[["top", "right"]].set_visible(False)
            PLOTS[name](axes, result)
            figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None, "Description": digest(result)})
            plt.close(figure)
    elif (RESULTS / f"{name}.png").exists():
        shutil.copy(RESULTS / f"{name}.png", IMAGES)


def digest(result: Result) -> str:
    """Which result a picture shows."""
    return "result " + hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()


def _bars(axes: Axes, spreads: dict[str, dict[str, float]], unit: str, *, ours: str) -> None:
    """Medians with their ranges, the largest on top. ours: how the names of our own begin."""
    items = sorted(spreads.items(), key=lambda item: item[1]["median"])
    names, values = [name.replace("_", " ") for name, _ in items], [value for _, value in items]
    medians = [value["median"] for value in values]
    reach = [[m - v["min"] for m, v in zip(medians, values, strict=True)]]
    reach.append([v["max"] - m for m, v in zip(medians, values, strict=True)])
    colors = [OURS if name.lower().startswith(ours) else OTHER for name in names]
    axes.barh(names, medians, xerr=reach, color=colors, error_kw={"ecolor": "#333", "elinewidth": 0.8})
    axes.set_xlabel(unit)
    axes.set_xlim(left=0)


def _copy(axes: Axes, result: Result) -> None:
    _bars(axes, result["rows_per_second"], "embeddings stored a second", ours="copy")
    axes.axvline(20 * result["rows_per_second"]["single"]["median"], color=TARGET, linestyle="--", linewidth=1)
    axes.set_title("dashed: 20 × single INSERTs", loc="left", fontsize=9)


def _uploads(axes: Axes, result: Result) -> None:
    _bars(axes, result["a_second"], "uploads a second", ours="ours")
    axes.axvline(0.5 * result["a_second"]["bare"]["median"], color=TARGET, linestyle="--", linewidth=1)
    axes.set_title("dashed: half of what bare Flask does", loc="left", fontsize=9)


def _peers(axes: Axes, result: Result) -> None:
    rates = {name: each["images_per_second"] for name, each in result["peers"].items()}
    plt.gcf().set_figheight(0.6 + 0.35 * len(rates))
    _bars(axes, rates, "pictures a second, from file to stored vector", ours="umbel")


def _index_build(axes: Axes, result: Result) -> None:
    parts = result["load_into_index_seconds"]["by_part"]
    each = result["images"] / len(parts)
    axes.plot([each * (part + 1) for part in range(len(parts))], [1000 * s / each for s in parts], "o-", color=OTHER)
    built = sum(result["load_then_build_seconds"].values())
    axes.axhline(1000 * built / result["images"], color=OURS)
    axes.set(xlabel="images in the gallery", ylabel="ms an image", ylim=(0, None))
    axes.legend(["loaded into the index", "loaded, then built"], frameon=False)


def _growth(axes: Axes, result: Result) -> None:
    sizes = sorted(result["galleries"], key=int)
    for label, part, colour in (("statement alone", "statement", OTHER), ("over HTTP", "http", OURS)):
        values = [result[part]["p50_ms"][size]["median"] for size in sizes]
        axes.plot([int(size) for size in sizes], values, "o-", color=colour, label=f"{label}, p50")
    crowd = [result["with_clients"][size]["p99_ms"]["median"] for size in sizes]
    axes.plot(
        [int(size) for size in sizes], crowd, "s:", color=TARGET, label=f"over HTTP, {result['clients']} clients, p99"
    )
    axes.set(xscale="log", xlabel="images in the gallery", ylabel="ms", ylim=(0, None))
    axes.legend(frameon=False)


PLOTS: dict[str, Callable[[Axes, Result], None]] = {
    "copy": _copy,
    "uploads": _uploads,
    "peers": _peers,
    "index_build": _index_build,
    "index_build_large": _index_build,
    "growth": _growth,
    "growth_large": _growth,
}

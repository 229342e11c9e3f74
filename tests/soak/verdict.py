"""Whether a series is flat: how much it grows over the last half of a soak, next to what it may."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import theilslopes

GROWING = 0.05  # a table that has this share more rows at the end of the last half is judged by the row
FEW_ROWS = 200  # of a table that is too small to be judged by the row
LEAST = 6  # samples, for a verdict

# How much a series of a kind may grow over the last half: a share of its median, or so much, whichever is more. The
# amounts are what one measurement differs from the next by: an arena of malloc, a session more in a pool, pages that
# the next vacuum gives back.
ALLOWED = {
    "memory_mb": (0.05, 8.0),
    "files": (0.05, 4.0),
    "threads": (0.05, 3.0),
    "connections": (0.10, 3.0),
    "table_mb": (0.05, 0.5),
    "index_mb": (0.05, 0.5),
    "dead_rows": (0.25, 500.0),
    "bytes_a_row": (0.05, 20.0),
    "queue": (0.25, 20.0),
    "disk_mb": (0.10, 8.0),
    "bytes_an_operation": (0.10, 50.0),
    "search_ms": (0.5, 20.0),
    "lag_seconds": (0.25, 0.5),
}

Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class Verdict:
    """growth: over the last half of the time, in the unit of the series, along its median slope."""

    name: str
    median: float
    growth: float
    allowed: float

    @property
    def flat(self) -> bool:
        """A series that becomes smaller is flat."""
        return self.growth <= self.allowed

    def told(self) -> dict[str, Any]:
        return {
            "median": round(self.median, 2),
            "growth": round(self.growth, 3),
            "allowed": round(self.allowed, 3),
            "flat": self.flat,
        }


def judged(rows: Sequence[Row]) -> list[Verdict]:
    """A verdict on each series that has enough samples in the last half. rows: at even times, oldest first."""
    half = rows[len(rows) // 2 :]
    found = [each for name, points in _series(half) if (each := verdict(name, points))]
    return sorted(found, key=lambda each: (each.flat, each.name))


def verdict(name: str, points: Sequence[tuple[float, float]]) -> Verdict | None:
    """points: (seconds, value). None if they are too few, or of a kind that is shown and not judged."""
    kind = name.partition(".")[0]
    if kind not in ALLOWED or len(points) < LEAST:
        return None
    times, values = [time for time, _ in points], [value for _, value in points]
    slope = float(theilslopes(values, times)[0])  # a single peak or vacuum does not decide
    share, amount = ALLOWED[kind]
    median = statistics.median(values)
    return Verdict(name, median, slope * (times[-1] - times[0]), max(share * median, amount))


def _series(rows: Sequence[Row]) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """The series to be judged: a table whose content grows by the row, the logs by the operation."""
    names = sorted({name for row in rows for name in row})
    for name in names:
        kind, _, part = name.partition(".")
        if kind in ("table_mb", "index_mb", "dead_rows") and _grows(rows, f"rows.{part}"):
            if kind != "dead_rows":
                yield f"bytes_a_row.{part}, {kind[:5]}", _ratio(rows, name, f"rows.{part}")
        elif name == "disk_mb.logs":
            yield "bytes_an_operation.logs", _ratio(rows, name, "operations.done")
        else:
            yield name, [(row["seconds"], row[name]) for row in rows if name in row]


def _grows(rows: Sequence[Row], name: str) -> bool:
    counts = [row[name] for row in rows if name in row]
    return len(counts) > 1 and counts[-1] > max(FEW_ROWS, counts[0] * (1 + GROWING))


def _ratio(rows: Sequence[Row], mb: str, number: str) -> list[tuple[float, float]]:
    return [(row["seconds"], row[mb] * 2**20 / row[number]) for row in rows if mb in row and row.get(number)]

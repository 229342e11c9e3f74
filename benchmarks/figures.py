"""docs/performance.md: the figures that users ask for, one row each, one column a kind of machine."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Result = dict[str, Any]

AMX, AVX512, AVX2, GPU = "2 cores, AMX", "2 cores, AVX-512 and bf16", "2 cores, AVX2 alone", "16 cores, H200"
MACHINES = {"AMX": AMX, "AVX-512 with bf16": AVX512, "AVX2": AVX2}

INTRO = """# Performance

<!-- Written by `python -m benchmarks.report` from benchmarks/results/*.json: edit those and benchmarks/figures.py. -->

These figures were measured with everything (Postgres, Redis, API, workers and clients) on one machine and the shipped
model `umbel-b0`; searches by gallery size had 4 GB of shared buffers. Measure your own machine with `make bench`. The
[appendix](performance-details.md) has all results, the targets, and the reasons for those that were missed.
[How far it goes](explanation/scale.md) extrapolates to larger galleries.
"""

NOTES = """
## Advice

- **Cores limit imports**, not the model: a GPU waits for the cores that decode and store. Run several workers on it
  ([how](how-to/scale-out.md)).
- **AMX matters on CPUs**: with it the model's forward is seven times as fast.
- **Int8 helps CPUs without bf16**: a forward is 1.3 to 2.4 times as fast as in float32, for vectors of its own
  ([what it costs](experiments.md#int8), [how](how-to/models.md#compute-in-int8)). With bf16 it gains little.
- **The index must fit into memory.** With 256 MB of shared buffers a search of a million images takes 15 times as long
  as one of 10,000; with 4 GB it takes six times as long (the statement alone).
- **A filter costs time, not recall**: behind a filter the index keeps more candidates.
- **Many large collections, each searched by itself**: with an index of its own
  ([`UMBEL_COLLECTION_INDEX_ABOVE`](how-to/collections.md#an-index-of-its-own)) such a search is four to six times as
  quick, and storing twice as slow.
- **Send many images as an import**, not as single uploads: each upload is a job of its own and on disk before its 202.
"""


@dataclass(frozen=True)
class Figure:
    """results: files that may hold it, for as many kinds of machine; a later one of the same kind wins."""

    what: str
    results: tuple[str, ...]
    value: Callable[[Result], Any]
    form: str = "{:,.0f}"


@dataclass(frozen=True)
class Section:
    title: str
    figures: tuple[Figure, ...]


def _repeated(result: Result) -> float:
    return float(result["counts"]["total"] / result["seconds"]["second_import"])


IMPORTS = ("bulk_import", "bulk_import_avx512", "bulk_import_avx2", "bulk_import_gpu", "bulk_import_gpu_4")
SEARCH = ("search", "search_avx512", "search_avx2")
SECTIONS = (
    Section(
        "Taking images in",
        (
            Figure("Import, from file to stored vector, images a second", IMPORTS, lambda r: r["per_second"]),
            Figure("The same import again (all duplicates), images a second", IMPORTS, _repeated),
            Figure("Uploads accepted, 16 clients, a second", ("uploads",), lambda r: r["a_second"]["ours"]),
            Figure("Uploads embedded, 16 clients, a second", ("singles",), lambda r: r["ours_per_second"]),
            Figure(
                "Building the HNSW index of 100,000 images, seconds",
                ("index_build_large",),
                lambda r: r["load_then_build_seconds"]["build"],
            ),
        ),
    ),
    Section(
        "Searching 100,000 images",
        (
            Figure("By vector over HTTP, median ms", SEARCH, lambda r: r["http"]["p50_ms"]["vector"], "{:.1f}"),
            Figure("By a stored image over HTTP, median ms", SEARCH, lambda r: r["http"]["p50_ms"]["id"], "{:.1f}"),
            Figure("By a picture over HTTP, median ms", SEARCH, lambda r: r["http"]["p50_ms"]["picture"], "{:.1f}"),
            Figure("The statement alone, median ms", SEARCH, lambda r: r["recall_at_10"]["p50_ms"], "{:.1f}"),
            Figure(
                "The statement, 1 % pass a filter, median ms",
                SEARCH,
                lambda r: r["filtered"]["1 %"]["p50_ms"],
                "{:.1f}",
            ),
            Figure("Exact scan, median ms", SEARCH, lambda r: r["recall_at_10"]["exact_p50_ms"], "{:.1f}"),
            Figure("Recall@10", SEARCH, lambda r: r["recall_at_10"]["recall"], "{:.3f}"),
            Figure("Recall@10, 1 % pass a filter", SEARCH, lambda r: r["filtered"]["1 %"]["recall"], "{:.3f}"),
            Figure(
                "Searches by vector over HTTP, 8 clients, a second",
                ("growth", "growth_avx2"),
                lambda r: r["with_clients"]["100000"]["a_second"],
            ),
        ),
    ),
    Section(
        "Searching a million images",
        (
            Figure(
                "By vector over HTTP, median ms",
                ("growth_large",),
                lambda r: r["http"]["p50_ms"]["1000000"],
                "{:.1f}",
            ),
            Figure(
                "8 clients, searches a second", ("growth_large",), lambda r: r["with_clients"]["1000000"]["a_second"]
            ),
            Figure("Size of the HNSW index, MB", ("growth_large",), lambda r: r["galleries"]["1000000"]["index_mb"]),
        ),
    ),
    Section(
        "Changing the model, 10,000 images, 22 requests a second meanwhile",
        (
            Figure("Reindex, seconds", ("reindex_large",), lambda r: r["seconds"]["reindex"]),
            Figure("Failed requests", ("reindex_large",), lambda r: r["failed_requests"]),
            Figure(
                "95th percentile of searches over that before",
                ("reindex_large",),
                lambda r: r["p95_over_idle"],
                "{:.2f}",
            ),
        ),
    ),
)


def overview(results: dict[str, Result]) -> str:
    """The page as Markdown; figures whose result is missing are left out."""
    parts = [INTRO]
    for section in SECTIONS:
        rows = {figure: _by_machine(figure, results) for figure in section.figures}
        machines = [each for each in (*MACHINES.values(), GPU) if any(each in row for row in rows.values())]
        if machines:
            parts.append(f"## {section.title}\n")
            parts.append("| | " + " | ".join(machines) + " |\n|---|" + "---:|" * len(machines))
            parts += [_row(figure, row, machines) for figure, row in rows.items() if row]
            parts.append("")
    return "\n".join(parts).rstrip() + "\n" + NOTES


def _row(figure: Figure, row: dict[str, Any], machines: list[str]) -> str:
    return f"| {figure.what} | " + " | ".join(figure.form.format(row[m]) if m in row else "" for m in machines) + " |"


def _by_machine(figure: Figure, results: dict[str, Result]) -> dict[str, Any]:
    found = {}
    for name in figure.results:
        if name in results:
            value = figure.value(results[name])
            found[_machine(results[name]["machine"])] = value["median"] if isinstance(value, dict) else value
    return found


def _machine(machine: dict[str, Any]) -> str:
    if machine.get("gpu"):
        return GPU
    return MACHINES[machine.get("arithmetic", "AVX2")]

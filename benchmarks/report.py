"""docs/performance.md and docs/performance-details.md, from benchmarks/results/. Run `python -m benchmarks.report`.

The first page has the figures that users ask for (benchmarks/figures.py); the second has all targets and results. A
missing result is left out. All fields of a result become tables; its `note` is shown.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS
from benchmarks.figures import overview
from benchmarks.plots import IMAGES, PLOTS, draw
from benchmarks.targets import OTHERS, reached, without_machine

DOCS = Path(__file__).parent.parent / "docs"
PAGE, DETAILS = DOCS / "performance.md", DOCS / "performance-details.md"
# In this order, under these titles. Results of other kinds (accuracy, faults) have pages of their own.
TITLES = {
    "peers": "Other stores",
    "timeline": "Stages of a bulk load",
    "singles": "Single uploads by many clients",
    "bulk_import": "Import by the whole stack",
    "bulk_import_in_place": "Import by the whole stack, in place",
    "bulk_import_photographs": "Import of photographs by the whole stack",
    "bulk_import_photographs_in_place": "Import of photographs by the whole stack, in place",
    "runtimes": "Runtimes of the model",
    "decoding": "Decoding",
    "decoders": "Number of decoder processes",
    "gpu": "Forward on a GPU",
    "bulk_import_gpu": "Import on a GPU",
    "bulk_import_gpu_4": "Import with four workers on one GPU",
    "fetching": "Fetching",
    "copy": "COPY and INSERT",
    "index_build": "Index: insert or build afterwards",
    "index_build_large": "Index: insert or build afterwards, 100,000 images",
    "binary": "Index of bits, or of half floats",
    "binary_large": "Index of bits, or of half floats, a million images",
    "collection_indexes": "Indexes of single collections",
    "growth": "Search by gallery size",
    "growth_large": "Search by gallery size, up to a million images",
    "search": "Search: recall, filters and HTTP",
    "filters": "Filters and facets",
    "filters_large": "Filters and facets, a million images",
    "paging": "Pages of a search",
    "paging_large": "Pages of a search, a million images",
    "regions": "A part of a photograph finds the whole",
    "uploads": "Uploads",
    "slow_clients": "Slow clients",
    "waiting_searches": "Health checks while searches wait",
    "serving": "Memory while large pictures are fetched",
    "events": "Events: latency",
    "events_cost": "Events: what they cost imports and uploads",
    "events_ledger": "Events: what they cost the ledger",
    "unreachable_source": "An import beside unreachable buckets",
    "reindex": "Reindex under load",
    "reindex_large": "Reindex under load, 10,000 images",
    "year": "After a year of use",
    "year_large": "After a year of use, a million images",
    "replicas": "Read replicas",
    "shards": "Three shards and one server",
    "shards_large": "Three shards and one server, 300,000 images",
    "vectors": "Vectors out and in",
    "vectors_large": "Vectors out and in, 100,000 images",
    "observing": "Cost of logs and metrics",
}
TITLES = {name + end: title + added for name, title in TITLES.items() for end, added in ({"": ""} | OTHERS).items()}
FRAME = {"question", "machine", "load_before", "commit", "command", "note"}
INTRO = """# Performance: all results

<!-- Written by `python -m benchmarks.report` from benchmarks/results/*.json: edit those and benchmarks/targets.py. -->

This page is the appendix of [Performance](performance.md). Each figure comes from one run of one script in
[benchmarks/](../benchmarks/). Alternatives took turns, block by block; a median with its range stands for at least five
blocks. Postgres, Redis, API, worker and clients shared the machine's cores. `make bench` repeats the short benchmarks
(about {minutes} minutes on two idle cores with AMX, half as long again with AVX2 alone) and writes both pages. A
processor with AMX multiplies matrices in bf16 and runs the model's forward seven times as fast as one with AVX2 alone;
everything else then weighs seven times as much. *Load* is the machine's load before the run, from other work. Ratios
depend on it less than times do.
"""


def details(results: dict[str, dict[str, Any]]) -> str:
    from benchmarks.__main__ import QUESTIONS  # noqa: PLC0415

    parts = [INTRO.format(minutes=round(sum(minutes for minutes, _ in QUESTIONS.values()))), *_targets(results)]
    for name in (name for name in TITLES if name in results):
        parts += _section(name, results[name])
    return "\n".join(parts).rstrip() + "\n"


def load() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def _targets(results: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "## Targets\n"
    yield "| | measured | target | |\n|---|---|---|---|"
    missed: dict[str, list[str]] = {}  # by the reason
    for target, value in reached(results):
        met = target.met(value)
        yield f"| {target.what} | [{_number(value)}](#{_anchor(target.result)}) | {target.bound} | {_verdict(met)} |"
        if not met and target.why:
            missed.setdefault(target.why, []).append(without_machine(target.what))
    yield "\n" + "".join(f"- {'; '.join(dict.fromkeys(what))}: {why}\n" for why, what in missed.items())


def _verdict(met: bool) -> str:
    return "met" if met else "**not met**"


def _section(name: str, result: dict[str, Any]) -> Iterator[str]:
    yield f"## {TITLES[name]}\n"
    machine = result["machine"]
    named = [machine.get("cpu"), f"{machine['cores']} cores", machine.get("arithmetic"), machine.get("gpu")]
    where = ", ".join(each for each in named if each)
    yield (
        f"`{result['command']}` at {result['commit']} on {where}; load {result['load_before']:.1f}."
        f" [All figures](../benchmarks/results/{name}.json)\n"
    )
    if "note" in result:
        yield result["note"] + "\n"
    if name in PLOTS or (RESULTS / f"{name}.png").exists():
        kind = "svg" if name in PLOTS else "png"
        yield f"![{TITLES[name]}](images/performance/{name}.{kind})\n"
    yield from _tables({key: value for key, value in result.items() if key not in FRAME})


def _tables(fields: dict[str, Any], title: str = "") -> Iterator[str]:
    """Figures in one table, groups of figures in another with a row each; whatever is deeper in tables of its own."""
    figures = {key: each for key, each in fields.items() if _is_figure(each)}
    groups = {key: each for key, each in fields.items() if isinstance(each, dict) and key not in figures}
    rows = {key: each for key, each in groups.items() if _is_row(each)}
    if figures:
        yield _table([title], [[_words(key), _cell(each)] for key, each in figures.items()])
    if title and rows:
        columns = list(dict.fromkeys(key for row in rows.values() for key in row if not isinstance(row[key], list)))
        cells = [[_words(key), *(_cell(row.get(column)) for column in columns)] for key, row in rows.items()]
        yield _table([title, *map(_words, columns)], cells)
    for key, each in groups.items():
        if not title or key not in rows:
            yield from _tables(each, f"{title}: {_words(key)}" if title else _words(key))


def _is_figure(value: Any) -> bool:
    return not isinstance(value, dict | list) or _is_spread(value)


def _is_row(group: dict[str, Any]) -> bool:
    """Whether it fits into a row: figures, and facts that belong to them, such as versions of what was measured."""
    facts = [each for each in group.values() if isinstance(each, dict) and not _is_spread(each)]
    return len(facts) < len(group) and not any(isinstance(one, dict | list) for each in facts for one in each.values())


def _table(head: list[str], rows: list[list[str]]) -> str:
    head = head + [""] * (len(rows[0]) - len(head))
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _is_spread(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"median", "min", "max"}


def _cell(value: Any) -> str:
    if _is_spread(value):
        return f"{_number(value['median'])} ({_number(value['min'])} – {_number(value['max'])})"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(each)}" for key, each in value.items())
    return "" if value is None else _number(value)


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _words(key: str) -> str:
    return f"{int(key):,}" if key.isdigit() else key.replace("_", " ")


def _anchor(name: str) -> str:
    kept = "".join(letter for letter in TITLES[name].lower() if letter.isalnum() or letter in " -")
    return kept.replace(" ", "-")


def main() -> None:
    results = load()
    for name in (name for name in TITLES if name in results):
        draw(name, results[name])
    PAGE.write_text(overview(results))
    DETAILS.write_text(details(results))
    print(f"{PAGE}, {DETAILS} and {len(list(IMAGES.iterdir()))} pictures")


if __name__ == "__main__":
    main()

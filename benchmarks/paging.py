"""What does it cost to page through 10,000 matches, against one deep search and against exact ones?

    python -m benchmarks.paging [--images 100000] [--home FOLDER]

The gallery of benchmarks/filters.py (with --home one that is there already is used again). Pages of 100 and 1,000
from the first to the last, each as the API asks for it: all by default, then exact. A page may repeat nothing; how many
of the 10,000 nearest they miss is counted. Then other answers of ten: one of each label, images that differ, and one of
each group of near-duplicates, of which this gallery has none.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from benchmarks.common import named, own_home, seconds, write
from benchmarks.database import DIM, own_database, own_server
from benchmarks.filters import fill, unit_vectors
from benchmarks.growth import buffers_for

DEEPEST = 10_000
SIZES = (100, 1_000)
# So many matches before a page whose time is told.
DEPTHS = (0, 500, 2_000, 9_000)
QUERIES = 2
TIMES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--home", type=Path, help="Keep the gallery here, and use it again.")
    asked = parser.parse_args()
    with (
        own_home(asked.home) as home,
        own_server(home, shared_buffers=buffers_for(asked.images)) as server,
        own_database(server, "filters") as new,
    ):
        if new:
            fill(asked.images)
        queries = list(unit_vectors(np.random.default_rng(3), QUERIES, along=1.0))
        deepest = min(DEEPEST, asked.images // 2)
        write(
            named("paging", asked.images),
            {
                "images": asked.images,
                "dim": DIM,
                "matches": deepest,
                "one_deep_search": _deep(queries, deepest),
                "pages": {f"of {size:,}": _pages(queries, size, deepest) for size in SIZES},
                "other_answers_of_ten": _others(queries),
            },
        )


def _deep(queries: list[Any], deepest: int) -> dict[str, float]:
    from umbel.search.nearest import Scope, nearest_images  # noqa: PLC0415 - settings are read at the first use

    def ms(exact: bool) -> float:
        took = [
            seconds(partial(nearest_images, None, query, k=deepest, scope=Scope(), exact=exact))
            for _ in range(3)
            for query in queries
        ]
        return round(1000 * median(took), 1)

    return {"ms": ms(False), "exact ms": ms(True)}


def _pages(queries: list[Any], size: int, deepest: int) -> dict[str, Any]:
    """By turns: all pages of a query as they come, then exact ones."""
    from umbel.search.nearest import Scope, nearest_images  # noqa: PLC0415

    took: dict[str, list[list[float]]] = {"": [], "exact ": []}
    missed, modes = [], []
    for query in queries:
        true = nearest_images(None, query, k=deepest, scope=Scope(), exact=True).matches
        for exact in (False, True):
            _walked(query, size, 3 * size, exact=exact)  # to warm up
            times, found, walked = _walked(query, size, deepest, exact=exact)
            took["exact " if exact else ""].append(times)
            assert len({match.image_id for match in found}) == len(found)
            if not exact:
                missed.append(len({one.image_id for one in true} - {one.image_id for one in found}))
                modes.append(sum(mode == "hnsw" for mode in walked))
            else:
                assert found == true
    answer: dict[str, Any] = {}
    for name, walks in took.items():
        answer |= {f"{name}page behind {depth:,}, ms": _at(walks, depth // size) for depth in DEPTHS if depth < deepest}
        answer[f"{name}all pages, s"] = round(median([sum(each) for each in walks]), 2)
    return {**answer, "pages": len(took[""][0]), "through the index": round(fmean(modes), 1), "missed": fmean(missed)}


def _walked(query: Any, size: int, deepest: int, *, exact: bool) -> tuple[list[float], list[Any], list[Any]]:
    """Seconds of each page, all matches, and how each page was found. As the API does: one more than is shown."""
    from umbel.search.nearest import Place, Scope, nearest_images  # noqa: PLC0415

    times: list[float] = []
    found: list[Any] = []
    modes: list[Any] = []
    place: Place | None = None
    while len(found) < deepest:
        k = min(size, deepest - len(found))
        began = time.perf_counter()
        page = nearest_images(None, query, k=k + 1, scope=Scope(), exact=exact, after=place)
        times.append(time.perf_counter() - began)
        found += page.matches[:k]
        modes.append(page.mode)
        place = Place(found[-1].distance, found[-1].image_id, len(found))
    return times, found, modes


def _at(times: list[list[float]], number: int) -> float:
    """Of this page and its neighbors, milliseconds."""
    near = [one for each in times for one in each[max(0, number - 1) : number + 2]] if number else [e[0] for e in times]
    return round(1000 * median(near), 1)


def _others(queries: list[Any]) -> dict[str, float]:
    from umbel.gallery.facets import By  # noqa: PLC0415
    from umbel.insights.selection import Selection, find_page  # noqa: PLC0415
    from umbel.search.nearest import Scope  # noqa: PLC0415
    from umbel.search.search import Query  # noqa: PLC0415

    def p50_ms(ask: Callable[[Any], object]) -> float:
        ask(queries[0])
        return round(1000 * median(seconds(partial(ask, query)) for _ in range(TIMES) for query in queries), 1)

    ways = {
        "nearest, p50 ms": Selection(),
        "diversity, p50 ms": Selection(diversity=0.5),
        "collapse, p50 ms": Selection(collapse=True),
        "group by label, p50 ms": Selection(group_by=By("label")),
        "group by a metadata key, p50 ms": Selection(group_by=By("metadata", "year")),
    }
    found = {}
    for name, selection in ways.items():

        def ask(query: Any, how: Selection = selection) -> object:
            return find_page(Query(query), k=10, scope=Scope(), selection=how)

        found[name] = p50_ms(ask)
        print(os.getloadavg()[0], name, found[name], flush=True)
    return found


if __name__ == "__main__":
    main()

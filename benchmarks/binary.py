"""What does an index of bits save, and what does it cost, beside one of half floats?

Run `python -m benchmarks.binary [--images 100000] [--home HOME] [--folder FOLDER]`: the gallery of benchmarks/growth.py
(with --home it stays there, and one that is there is taken again) and a copy of its database whose index is of bits.
Both are asked by turns, through `search_images`: the statement alone, without a filter and behind one that a hundredth
of the images pass, and once more with buffers that hold the index of bits but not the other; then 8 clients at once
over HTTP, with an API in front of each database. recall: of the ten nearest by an exact scan. Client, APIs and Postgres
share the cores.
"""

import argparse
import json
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from typing import Any

from pgvector import HalfVector

from benchmarks.common import named, own_home, spread, write
from benchmarks.database import copy_database, own_database, own_server
from benchmarks.growth import (
    BUFFERS,
    CLIENTS,
    JUDGED,
    Client,
    K,
    build,
    by_turns,
    crowds,
    originals,
    prepare,
    queries_of,
)
from benchmarks.served import served

BETWEEN = 700  # bytes an image of the one index and of the other
SOME = 25  # of the queries are asked behind a filter
PASSING = {"metadata": {"percent": 7}}  # a hundredth of the images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--home", type=Path, help="folder whose galleries are kept")
    parser.add_argument("--folder", type=Path, help="class folders of photographs")
    asked = parser.parse_args()
    size = asked.images
    names = {"halfvec": f"growth_{size}", "bits": f"growth_{size}_bits"}
    with own_home(asked.home) as home:
        vectors, labels = originals(home, asked.folder)
        queries = queries_of(vectors)
        notes = {kind: home / f"{name}.json" for kind, name in names.items()}
        with own_server(home) as server:
            prepare(server, size, vectors, labels, notes["halfvec"])
            _copy(server, size, notes["bits"])
        few = f"{max(size * BETWEEN >> 20, 1)}MB"
        with own_server(home, shared_buffers=few) as server, ExitStack() as stack:
            short = _costs(_searches(server, names, stack), queries)
        with own_server(home, shared_buffers=BUFFERS) as server, ExitStack() as stack:
            searches, filtered = (_searches(server, names, stack, condition) for condition in (None, _condition()))
            answer = {
                "unfiltered": _compared(searches, queries, queries[:JUDGED]),
                "1 % pass a filter": _compared(filtered, queries[:SOME], queries[:JUDGED]),
                f"unfiltered, with shared_buffers of {few}": short,
            }
            urls = {kind: server.url(name) for kind, name in names.items()}
            apis = {kind: stack.enter_context(served(UMBEL_DATABASE_URL=url)) for kind, url in urls.items()}
            crowd = crowds({kind: Client(api.port) for kind, api in apis.items()}, queries)
        built = {kind: json.loads(path.read_text()) for kind, path in notes.items()}
    write(
        named("binary", size),
        {
            "images": size,
            "real_embeddings": len(vectors),
            "k": K,
            "shared_buffers": BUFFERS,
            "indexes": {
                kind: {name: note[f"index_{name}"] for name in ("seconds", "mb", "memory_mb")}
                for kind, note in built.items()
            },
            **answer,
            "clients": CLIENTS,
            "with_clients": crowd,
        },
    )


class Search:
    """`search_images` on a connection of its own, behind a condition and within a collection if there is one."""

    def __init__(self, connection: Any, condition: str | None = None, collection: str | None = None) -> None:
        self._connection, self._condition, self._collection = connection, condition, collection

    def __call__(self, query: Any, *, exact: bool = False) -> list[Any]:
        """Image ids, and how they were found."""
        return self._ask("", query, exact=exact)

    def pages(self, query: Any) -> tuple[int, int]:
        """How many pages it looks at, counted again when it comes back, and how many were not in the buffers."""
        [[[plan]]] = self._ask("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)", query, exact=False)
        read = int(plan["Plan"]["Shared Read Blocks"])
        return int(plan["Plan"]["Shared Hit Blocks"]) + read, read

    def _ask(self, explain: str, query: Any, *, exact: bool) -> list[Any]:
        statement = (
            f"{explain} SELECT image_id, mode FROM search_images(%s::halfvec, k => {K}, condition => %s,"
            " collection_name => %s, exact => %s)"
        )
        values = [HalfVector(query), self._condition, self._collection, exact]
        return list(self._connection.execute(statement, values, prepare=True).fetchall())


def _searches(server: Any, names: dict[str, str], stack: ExitStack, condition: str | None = None) -> dict[str, Search]:
    return {kind: Search(stack.enter_context(server.connect(name, "umbel")), condition) for kind, name in names.items()}


def _condition() -> str | None:
    from umbel.gallery.filters import Filter  # noqa: PLC0415 - settings are read at the first use, so the home comes first
    from umbel.search.nearest import Scope, condition_of  # noqa: PLC0415

    return condition_of(Scope(filter=Filter.model_validate(PASSING)))


def _copy(server: Any, size: int, notes: Path) -> None:
    """The same gallery with an index of bits, unless it is there."""
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.base.types import IndexKind  # noqa: PLC0415
    from umbel.models import partitions, versions  # noqa: PLC0415

    if notes.exists():
        return
    name = f"growth_{size}_bits"
    copy_database(server, f"growth_{size}", name)
    with own_database(server, name):
        with transaction() as session:
            version = versions.get_active_version(session)
            partitions.drop_index(session, version.id)
            version.hnsw_kind = IndexKind.BITS
        notes.write_text(json.dumps(build(size, version)))


def _compared(searches: dict[str, Search], queries: Any, judged: Any) -> dict[str, Any]:
    true: list[set[Any]] = [{image_id for image_id, _ in searches["halfvec"](query, exact=True)} for query in judged]
    costs = _costs(searches, queries)
    return {kind: {**judge(search, judged, true), **costs[kind]} for kind, search in searches.items()}


def _costs(searches: dict[str, Search], queries: Any) -> dict[str, Any]:
    times = by_turns(searches, queries)
    found = {}
    for kind, search in searches.items():
        pages = [search.pages(query) for query in queries]
        found[kind] = {
            "p50_ms": spread(times[kind]),
            "pages": round(fmean(every for every, _ in pages)),
            "pages_not_in_buffers": round(fmean(read for _, read in pages)),
        }
    return found


def judge(search: Search, queries: Any, true: list[set[Any]]) -> dict[str, Any]:
    """Recall, and the ways in which it was found: exact where too few images pass the filter for the index."""
    answers = [search(query) for query in queries]
    shares = [len({one for one, _ in found} & right) / len(right) for found, right in zip(answers, true, strict=True)]
    return {"recall": round(fmean(shares), 4), "modes": sorted({mode for found in answers for _, mode in found})}


if __name__ == "__main__":
    main()

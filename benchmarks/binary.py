"""What does an index of bits save, and what does it cost, beside one of half floats?

Run `python -m benchmarks.binary [--images 100000] [--home HOME] [--folder FOLDER]`: the gallery of benchmarks/growth.py
(with --home it stays there, and one that is there is taken again) and a copy of its database whose index is of bits.
Both are asked by turns, through `search_images`: the statement alone, without a filter and behind one that a hundredth
of the images pass, and 8 clients at once over HTTP, each with an API in front of its database. recall: of the ten
nearest by an exact scan. Client, APIs and Postgres share the cores.
"""

import argparse
import json
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from typing import Any

from pgvector import HalfVector

from benchmarks.common import own_home, spread, write
from benchmarks.database import own_database, own_server
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
        with own_server(home, shared_buffers=BUFFERS) as server, ExitStack() as stack:
            prepare(server, size, vectors, labels, notes["halfvec"])
            _copy(server, size, notes["bits"])
            connections = {kind: stack.enter_context(server.connect(name, "umbel")) for kind, name in names.items()}
            searches = {kind: Search(each) for kind, each in connections.items()}
            filtered = {kind: Search(each, _condition()) for kind, each in connections.items()}
            answer = {
                "unfiltered": _compared(searches, queries, queries[:JUDGED]),
                "1 % pass a filter": _compared(filtered, queries[:SOME], queries[:JUDGED]),
            }
            urls = {kind: server.url(name) for kind, name in names.items()}
            apis = {kind: stack.enter_context(served(UMBEL_DATABASE_URL=url)) for kind, url in urls.items()}
            crowd = crowds({kind: Client(api.port) for kind, api in apis.items()}, queries)
        built = {kind: json.loads(path.read_text()) for kind, path in notes.items()}
    write(
        "binary" if size <= 100_000 else "binary_large",
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
    """`search_images` on a connection of its own, behind a condition if there is one."""

    def __init__(self, connection: Any, condition: str | None = None) -> None:
        self._connection, self._condition = connection, condition

    def __call__(self, query: Any, *, exact: bool = False) -> list[Any]:
        """Image ids, and how they were found."""
        statement = f"SELECT image_id, mode FROM search_images(%s::halfvec, k => {K}, condition => %s, exact => %s)"
        values = [HalfVector(query), self._condition, exact]
        return list(self._connection.execute(statement, values, prepare=True).fetchall())


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
    with server.connect("postgres") as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name}")
        # What vacuums it may be there still.
        admin.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = %s", [f"growth_{size}"]
        )
        admin.execute(f"CREATE DATABASE {name} OWNER umbel TEMPLATE growth_{size} STRATEGY file_copy")
    with own_database(server, name):
        with transaction() as session:
            version = versions.get_active_version(session)
            partitions.drop_index(session, version.id)
            version.hnsw_kind = IndexKind.BITS
        notes.write_text(json.dumps(build(size, version)))


def _compared(searches: dict[str, Search], queries: Any, judged: Any) -> dict[str, Any]:
    true = [{image_id for image_id, _ in searches["halfvec"](query, exact=True)} for query in judged]
    times = by_turns(searches, queries)
    return {kind: {**_judged(search, judged, true), "p50_ms": spread(times[kind])} for kind, search in searches.items()}


def _judged(search: Search, queries: Any, true: list[set[Any]]) -> dict[str, Any]:
    """Recall, and the ways in which it was found: exact where too few images pass the filter for the index."""
    answers = [search(query) for query in queries]
    shares = [len({one for one, _ in found} & right) / len(right) for found, right in zip(answers, true, strict=True)]
    return {"recall": round(fmean(shares), 4), "modes": sorted({mode for found in answers for _, mode in found})}


if __name__ == "__main__":
    main()

"""How do searches slow down as the gallery grows, what does HTTP add, and how long do 8 clients at once wait?

Run `python -m benchmarks.growth [--largest 1000000] [--home HOME] [--folder FOLDER]`: galleries of 10,000, of 100,000
and of --largest perturbed copies of real embeddings (FOLDER's, else the drawn sample garden's), each with an API in
front of a database of its own, in one Postgres whose shared_buffers hold all of them. With --home they stay there and
are taken again. Every search goes through the HNSW index (the answers say so), also that of 10,000. Galleries take
turns, block by block; client, APIs and Postgres share the cores. Statement: benchmarks.database.plain_search.
"""

import argparse
import http.client
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar

import numpy as np

from benchmarks.common import BLOCKS, USUAL, own_home, spread, write
from benchmarks.database import PlainSearch, add_version, own_database, own_server, plain_search
from benchmarks.gallery import copies, embed_folder, fill, perturbed
from benchmarks.served import served

K = 10
SIZES = (10_000, 100_000)
QUERIES = 100
JUDGED = 20  # of the queries are answered exactly, too
CLIENTS = 8
BUFFERS, USUAL_BUFFERS = "4GB", "256MB"
BYTES_TO_BUILD = 4_000  # of memory for each vector: an index that outgrows it takes many times as long
NOTE = (
    "Recall falls with the size of this kind of gallery: a million images are hundreds of copies of each picture, about"
    " as far from a query for it as from each other, so that the ten nearest among them are hard to tell from the rest."
)

Search = Callable[[Any], Any]
Key = TypeVar("Key", int, str)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, help="a third gallery; a million takes a quarter of an hour to build")
    parser.add_argument("--home", type=Path, help="folder whose galleries are kept")
    parser.add_argument("--folder", type=Path, help="class folders of photographs")
    asked = parser.parse_args()
    sizes = [*SIZES, *([asked.largest] if asked.largest else [])]
    with own_home(asked.home) as home:
        vectors, labels = originals(home, asked.folder)
        with own_server(home) as server:
            for size in sizes:
                prepare(server, size, vectors, labels, home / f"growth_{size}.json")
        queries = queries_of(vectors)
        with own_server(home, shared_buffers=USUAL_BUFFERS) as server, ExitStack() as stack:
            usual = by_turns(_statements(server, sizes, stack), queries)
        with own_server(home, shared_buffers=BUFFERS) as server, ExitStack() as stack:
            urls = {size: server.url(f"growth_{size}") for size in sizes}
            apis = {size: stack.enter_context(served(UMBEL_DATABASE_URL=url)) for size, url in urls.items()}
            clients = {size: Client(api.port) for size, api in apis.items()}
            statements = _statements(server, sizes, stack)
            pages = {size: round(fmean(map(search.pages, queries))) for size, search in statements.items()}
            answer = _answer(statements, clients, queries)
        notes = {size: json.loads((home / f"growth_{size}.json").read_text()) for size in sizes}
    write(
        "growth_large" if asked.largest else "growth",
        {
            **({"note": NOTE} if asked.largest else {}),
            "real_embeddings": len(vectors),
            "k": K,
            "shared_buffers": BUFFERS,
            "galleries": notes,
            "pages_a_statement": pages,
            **answer,
            f"statement_with_{USUAL_BUFFERS}": _p50s(usual),
        },
    )


def buffers_for(images: int) -> str:
    """Shared buffers that hold an index of so many."""
    return BUFFERS if images > USUAL else USUAL_BUFFERS


def prepare(server: Any, size: int, vectors: Any, labels: Sequence[str], notes: Path) -> None:
    """The gallery of that size, unless it is there: loaded, then indexed. notes: the file for how that went."""
    with own_database(server, f"growth_{size}") as new:
        if not new and notes.exists():
            return
        assert new, f"The gallery growth_{size} was left unfinished: take another --home."
        load = os.getloadavg()[0]
        version = add_version(indexed=False)
        began = time.perf_counter()
        fill(version.id, perturbed(vectors, size), labels)
        filled = time.perf_counter() - began
        made = {"fill_seconds": round(filled, 1), **build(size, version), "load_before_filling": round(load, 1)}
        notes.write_text(json.dumps(made))


def build(size: int, version: Any) -> dict[str, Any]:
    """Build the index of a version with so many images, and vacuum: how long it took, and its size."""
    from umbel.base.database import autocommit, transaction  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415 - settings are read at the first use, so the home comes first
    from umbel.models import partitions  # noqa: PLC0415

    began = time.perf_counter()
    memory = max(settings().index_memory_mb, size * BYTES_TO_BUILD >> 20)
    with autocommit() as connection:
        processes = settings().index_processes
        partitions.build_index(connection, version.id, version.dim, memory_mb=memory, processes=processes)
    indexed = time.perf_counter() - began
    vacuum()
    with transaction() as session:
        state = partitions.find_index_state(session, version.id)
    assert state is not None
    return {
        "index_seconds": round(indexed, 1),
        "index_mb": round(state.bytes / 2**20),
        "index_memory_mb": memory,
    }


def vacuum() -> None:
    """What the autovacuum would do some time after a load."""
    from sqlalchemy import text  # noqa: PLC0415

    from umbel.base.database import autocommit  # noqa: PLC0415

    with autocommit() as connection:
        connection.execute(text("VACUUM ANALYZE"))


def originals(home: Path, folder: Path | None) -> tuple[Any, list[str]]:
    """Embeddings (n, DIM) and labels of real pictures; kept in the home."""
    kept = home / "originals.npz"
    if not kept.exists():
        from ml.runtime import load_embedder  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415

        vectors, labels = embed_folder(load_embedder(settings()), folder)
        np.savez(kept, vectors=vectors, labels=np.array(labels))
    with np.load(kept) as found:
        return found["vectors"], [str(label) for label in found["labels"]]


def queries_of(vectors: Any) -> Any:
    """Copies (QUERIES, DIM) of pictures of all kinds, none of them in a gallery."""
    chosen = vectors[np.random.default_rng(2).permutation(len(vectors))[:QUERIES]]
    return copies(chosen, len(chosen), seed=3)


def _statements(server: Any, sizes: Sequence[int], stack: ExitStack) -> dict[int, PlainSearch]:
    return {size: stack.enter_context(plain_search(server, f"growth_{size}", K)) for size in sizes}


class Client:
    """Searches over one kept connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def another(self) -> "Client":
        return Client(self._port)

    def __call__(self, query: Any, *, exact: bool = False) -> dict[str, Any]:
        body = json.dumps({"vector": query.tolist(), "k": K, "exact": exact})
        self._connection.request("POST", "/v1/search", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return dict(json.loads(content))


def _answer(statements: Mapping[int, Search], clients: dict[int, "Client"], queries: Any) -> dict[str, object]:
    recall = {size: _recall(client, queries[:JUDGED]) for size, client in clients.items()}
    statement, through_api = by_turns(statements, queries), by_turns(clients, queries)
    added = {size: np.subtract(found, statement[size]).tolist() for size, found in through_api.items()}
    return {
        "recall_at_10": recall,
        "statement": _p50s(statement),
        "http": _p50s(through_api),
        "http_adds_ms": {size: spread(found) for size, found in added.items()},
        "clients": CLIENTS,
        "with_clients": crowds(clients, queries),
    }


def _recall(client: "Client", queries: Any) -> float:
    """Share of the exact answer that the index finds."""
    shares = []
    for query in queries:
        found, true = client(query), client(query, exact=True)
        assert found["search"]["mode"] == "hnsw", "Too small a gallery: it was scanned."
        ids, wanted = ({match["image_id"] for match in each["matches"]} for each in (found, true))
        shares.append(len(ids & wanted) / len(wanted))
    return round(fmean(shares), 4)


def by_turns(works: Mapping[Key, Search], queries: Any) -> dict[Key, list[float]]:
    """Median milliseconds of each gallery's searches, block by block; one block first that does not count."""
    found: dict[Key, list[float]] = {size: [] for size in works}
    for block in range(BLOCKS + 1):
        for size in list(works)[:: 1 if block % 2 else -1]:
            taken = [_milliseconds(works[size], query) for query in queries]
            if block:
                found[size].append(median(taken))
    return found


def _milliseconds(search: Search, query: Any) -> float:
    began = time.perf_counter()
    search(query)
    return 1000 * (time.perf_counter() - began)


def _p50s(found: dict[int, list[float]]) -> dict[str, object]:
    """Medians, and how many times those of the smallest gallery they are, block by block."""
    smallest = found[min(found)]
    return {
        "p50_ms": {size: spread(values) for size, values in found.items()},
        "over_smallest": {
            size: spread([one / other for one, other in zip(values, smallest, strict=True)])
            for size, values in found.items()
            if values is not smallest
        },
    }


def crowds(clients: dict[Key, Client], queries: Any) -> dict[Key, dict[str, object]]:
    """Latencies and rate of CLIENTS clients, each of which asks again as soon as it is answered."""
    found: dict[Key, dict[str, list[float]]] = {size: {"p50_ms": [], "p99_ms": [], "a_second": []} for size in clients}
    every = {size: [client.another() for _ in range(CLIENTS)] for size, client in clients.items()}
    with ThreadPoolExecutor(CLIENTS) as pool:
        for block in range(BLOCKS + 1):
            for size, some in list(every.items())[:: 1 if block % 2 else -1]:
                began = time.perf_counter()
                answers = list(pool.map(lambda client: [_milliseconds(client, query) for query in queries], some))
                seconds, taken = time.perf_counter() - began, np.concatenate(answers)
                if block:
                    found[size]["p50_ms"].append(float(np.percentile(taken, 50)))
                    found[size]["p99_ms"].append(float(np.percentile(taken, 99)))
                    found[size]["a_second"].append(len(taken) / seconds)
    return {size: {name: spread(values) for name, values in each.items()} for size, each in found.items()}


if __name__ == "__main__":
    main()

"""What do indexes of single collections gain, beside the one index of a model version, and what do they cost?

Run `python -m benchmarks.collection_indexes [--images 300000] [--folder FOLDER]`: perturbed copies of real embeddings
(FOLDER's, else the drawn sample garden's) in a collection with 30 % of the images, two with 10 %, four with 5 % and
fifteen with 2 %; and a copy of its database in which all but those of 2 % have an index of their own. Both are asked by
turns for the ten nearest within a collection and among all, through `search_images`, the statement alone. Twice: where
each collection has kinds of images of its own, as those of different owners do, and where all have all kinds, which is
the worst for one index. Then how long it takes to store images in both, by turns.
"""

import argparse
import time
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.binary import Search, judge
from benchmarks.common import interleaved, own_home, spread, write
from benchmarks.database import add_version, copy_database, own_database, own_server
from benchmarks.gallery import copies, fill
from benchmarks.growth import BUFFERS, BYTES_TO_BUILD, K, build, by_turns, originals, vacuum

SHARES = {"30 %": (0.3, 1), "10 %": (0.1, 2), "5 %": (0.05, 4), "2 %": (0.02, 15)}  # of the images; how many have it
LEAST = 0.03  # of the images, from which a collection has an index of its own
QUERIES = 50
JUDGED = 20  # of the queries are answered exactly, too
STORED, FAR = 500, 10_000_000  # images stored at a time; beyond the numbers of all that are there
APART, MIXED = "kinds of its own", "all kinds"
ONE, EACH = "one index", "one each"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300_000)
    parser.add_argument("--folder", type=Path, help="class folders of photographs")
    asked = parser.parse_args()
    with own_home() as home:
        vectors, labels = originals(home, asked.folder)
        with own_server(home, shared_buffers=BUFFERS) as server:
            found = {kinds: _of(server, kinds, asked.images, vectors, labels) for kinds in (APART, MIXED)}
    write(
        "collection_indexes",
        {"images": asked.images, "real_embeddings": len(vectors), "k": K, "collections": len(_sizes(1)), **found},
    )


def _sizes(images: int) -> dict[str, int | float]:
    """Each collection and how many images it has."""
    return {
        f"c{share.removesuffix(' %')}-{number}": of * images
        for share, (of, times) in SHARES.items()
        for number in range(times)
    }


def _of(server: Any, kinds: str, images: int, vectors: Any, labels: Any) -> dict[str, Any]:
    names = {ONE: f"one_{kinds == APART:d}", EACH: f"each_{kinds == APART:d}"}
    chosen = _chosen(kinds, vectors)
    with own_database(server, names[ONE]):
        version = add_version(indexed=False)
        for seed, (collection, size) in enumerate(_sizes(images).items()):
            fill(version.id, copies(chosen[collection], round(size), seed=seed), labels, collection=collection)
        built = build(images, version)
    copy_database(server, names[ONE], names[EACH])
    with own_database(server, names[EACH]):
        more = _build_each(images, version)
    with ExitStack() as stack:
        connections = {kind: stack.enter_context(server.connect(name, "umbel")) for kind, name in names.items()}
        searches = {
            share: _searched(connections, collection, _queries(chosen[collection]))
            for share in SHARES
            for collection in [f"c{share.removesuffix(' %')}-0"]
        }
        searches["all"] = _searched(connections, None, _queries(vectors))
    return {
        "indexes": {ONE: {"seconds": built["index_seconds"], "mb": built["index_mb"]}, "those of collections": more},
        "searches": searches,
        f"ms to store {STORED} images": _stored(server, names, chosen, version.id),
    }


def _chosen(kinds: str, vectors: Any) -> dict[str, Any]:
    """The originals of which each collection has copies: neighbors in the order of the folder, or any."""
    if kinds == MIXED:
        return dict.fromkeys(_sizes(1), vectors)
    ends = (np.cumsum(list(_sizes(1).values())) * len(vectors)).round().astype(int)
    return dict(zip(_sizes(1), np.split(vectors, ends[:-1]), strict=True))


def _queries(originals: Any) -> Any:
    some = originals[np.random.default_rng(2).integers(len(originals), size=QUERIES)]
    return copies(some, QUERIES, seed=1000)


def _build_each(images: int, version: Any) -> dict[str, Any]:
    """Build what the service would: how long all of them took, and their size."""
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415 - settings are read at the first use, so the home comes first
    from umbel.models import partitions  # noqa: PLC0415
    from umbel.models.collection_indexes import update_collection_indexes  # noqa: PLC0415

    memory = max(settings().index_memory_mb, images * BYTES_TO_BUILD >> 20)
    wanted = {"collection_index_above": round(LEAST * images), "index_memory_mb": memory}
    began = time.perf_counter()
    update_collection_indexes(transaction, settings().model_copy(update=wanted))
    taken = time.perf_counter() - began
    vacuum()
    with transaction() as session:
        state = partitions.find_index_state(session, version.id)
    assert state is not None
    return {"number": state.collections, "seconds": round(taken, 1), "mb": round(state.collection_bytes / 2**20)}


def _searched(connections: dict[str, Any], collection: str | None, queries: Any) -> dict[str, Any]:
    searches = {kind: Search(connection, collection=collection) for kind, connection in connections.items()}
    judged = queries[:JUDGED]
    true: list[set[Any]] = [{image_id for image_id, _ in searches[ONE](query, exact=True)} for query in judged]
    taken = by_turns(searches, queries)
    return {kind: {"p50_ms": spread(taken[kind]), **judge(search, judged, true)} for kind, search in searches.items()}


def _stored(server: Any, names: dict[str, str], chosen: dict[str, Any], version_id: Any) -> dict[str, Any]:
    """Images of a collection that has an index of its own, stored with their embeddings."""
    collection, numbers = "c10-0", count(1)

    def store(kind: str) -> None:
        with own_database(server, names[kind]):
            number = next(numbers)
            began = time.perf_counter()
            new = copies(chosen[collection], STORED, seed=2000 + number)
            fill(version_id, new, ["stored"], collection=collection, start=number * FAR)
            taken[kind].append(1000 * (time.perf_counter() - began))

    taken: dict[str, list[float]] = {kind: [] for kind in names}
    interleaved(**{kind.replace(" ", "_"): partial(store, kind) for kind in names})
    return {kind: spread(values[1:]) for kind, values in taken.items()}


if __name__ == "__main__":
    main()

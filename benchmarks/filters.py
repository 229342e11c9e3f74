"""How long do searches, pages and facets take behind a filter, however few images pass and wherever they lie?

    python -m benchmarks.filters [--images 100000] [--home FOLDER] [--no-searches]

Vectors that vary in 24 directions and hardly in the others, as embeddings of pictures do: in random ones of 512
dimensions nothing is nearer than the rest, and no index finds it. So many images pass: none, ten, 0.1 %, 1 %, 10 % and
50 %; spread evenly, or those that lie farthest from the queries, where the index is of no use. By a value that an index
finds (`eq`) and by a range that none does (`lt`); and within a collection that has so many, scattered over the table.
Then the first page of a list behind the same filters, and facets of a hundred labels, of 25 years, of fifty tags in
lists of two, and of a key that has another value in each image. Before all that, by turns, an exact scan and the index
at sizes around those up to which searches are exact.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import Any

import numpy as np

from benchmarks.common import named, own_home, seconds, write
from benchmarks.database import DIM, add_version, own_database, own_server
from benchmarks.growth import buffers_for, build, vacuum

K, PAGE = 10, 50
TIMES = 15  # that a page or a facet is asked for
QUERIES = 20
DIRECTIONS, NOISE = 24, 0.05
SHARES = {"none": 0.0, "ten": 0.0, "0.1 %": 0.001, "1 %": 0.01, "10 %": 0.1, "50 %": 0.5}
PORTION = 20_000  # images copied in one transaction
COLUMNS = {
    "id": "uuid", "collection_id": "uuid", "sha256": "bytea", "blob_key": "text", "media_type": "text", "size": "int8",
    "width": "int4", "height": "int4", "label": "text", "metadata": "jsonb",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--home", type=Path, help="Keep the gallery here, and use it again.")
    parser.add_argument("--no-searches", action="store_true", help="No index, which takes long for a million of these.")
    asked = parser.parse_args()
    with (
        own_home(asked.home) as home,
        own_server(home, shared_buffers=buffers_for(asked.images)) as server,
        own_database(server, "filters") as new,
    ):
        made = fill(asked.images, indexed=not asked.no_searches) if new else {}
        searched = {} if asked.no_searches else _searched(asked.images)
        lists, facets = _lists(asked.images), _facets(asked.images)
        sizes = {"images": asked.images, "dim": DIM, "k": K, "page": PAGE}
        write(
            named("filters", asked.images),
            {**sizes, **made, **searched, "lists": lists, "facets": facets},
        )


def passing(name: str, images: int) -> int:
    return 10 if name == "ten" else round(SHARES[name] * images)


def unit_vectors(rng: np.random.Generator, count: int, *, along: float = 0.0) -> Any:
    """(count, DIM) float32, of unit length. along: how far they are moved along the first axis."""
    directions = rng.normal(size=(count, DIRECTIONS))
    directions[:, 0] += along
    vectors = NOISE * rng.normal(size=(count, DIM))
    vectors[:, :DIRECTIONS] += directions
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _searched(images: int) -> dict[str, Any]:
    return {"switch_over": _switch_over(images), "searches": _searches(images)}


def fill(images: int, *, indexed: bool = True) -> dict[str, Any]:
    """The gallery as a bulk load leaves it: rows first, then the index."""
    from umbel.base.database import transaction  # noqa: PLC0415 - settings are read at the first use, so the home comes first
    from umbel.gallery import collections  # noqa: PLC0415

    version, rng = add_version(indexed=False), np.random.default_rng(1)
    vectors = unit_vectors(rng, images)
    anyhow = rng.permutation(images)  # by chance
    far = np.argsort(np.argsort(vectors[:, 0]))  # 0: the farthest from queries along the first axis
    names = np.array(["rest", *SHARES])[_places(anyhow, images)]
    began = time.perf_counter()
    for at in range(0, images, PORTION):
        some = slice(at, min(images, at + PORTION))
        with transaction() as session:
            owners = {name: collections.upsert_collection(session, _slug(name)) for name in ("rest", *SHARES)}
            _copy(
                session, version, owners, names=names[some], anyhow=anyhow[some], far=far[some], vectors=vectors[some]
            )
    filled = time.perf_counter() - began
    if indexed:
        return {"fill_seconds": round(filled, 1), **build(images, version)}
    vacuum()
    return {"fill_seconds": round(filled, 1)}


def _places(order: Any, images: int) -> Any:
    """For each image the place of its own among SHARES, counted from 1; 0 for the rest. None is in two."""
    bounds = np.cumsum([passing(name, images) for name in SHARES])
    return np.where(order < bounds[-1], np.searchsorted(bounds, order, side="right") + 1, 0)


def _slug(name: str) -> str:
    return name.replace(" %", "-percent").replace(" ", "-")


def _copy(
    session: Any, version: Any, owners: dict[str, Any], *, names: Any, anyhow: Any, far: Any, vectors: Any
) -> None:
    from psycopg.types.json import Jsonb  # noqa: PLC0415

    from umbel.base.copy import copy_rows  # noqa: PLC0415
    from umbel.embedding import embeddings  # noqa: PLC0415

    ids = session.connection().exec_driver_sql("SELECT uuidv7() FROM generate_series(1, %s)", (len(names),)).scalars()
    ids, rest = list(ids), (b"", "none/", "image/jpeg", 1, 1, 1)
    values = zip(ids, names, anyhow.tolist(), far.tolist(), strict=True)
    copy_rows(session, "image", COLUMNS, (
        (one, owners[name], one.bytes * 2, *rest[1:], f"label {n % 100}", Jsonb({
            "n": n, "far": f, "group": str(name), "year": 2000 + n % 25, "tags": [f"tag {n % 50}", f"tag {n % 7}"],
        }))
        for one, name, n, f in values
    ))  # fmt: skip
    kept = [(one, owners[name]) for one, name in zip(ids, names, strict=True)]
    embeddings.upsert_embeddings(session, version.id, kept, vectors)


def _searches(images: int) -> dict[str, Any]:
    from umbel.gallery.filters import Filter  # noqa: PLC0415
    from umbel.search.nearest import Scope, nearest_images  # noqa: PLC0415

    queries = unit_vectors(np.random.default_rng(2), QUERIES, along=1.0)  # away from those that are far

    def compared(scope: Scope) -> dict[str, Any]:
        for query in queries[:3]:
            nearest_images(None, query, k=K, scope=scope)
        took, found = [], []
        for query in queries:
            began = time.perf_counter()
            found.append(nearest_images(None, query, k=K, scope=scope))
            took.append(1000 * (time.perf_counter() - began))
        true = [nearest_images(None, query, k=K, scope=scope, exact=True) for query in queries]
        pairs = [
            ({one.image_id for one in some.matches}, {one.image_id for one in every.matches})
            for some, every in zip(found, true, strict=True)
        ]
        return {
            "p50_ms": round(median(took), 1),
            "p99_ms": round(quantiles(took, n=100)[98], 1),
            "modes": sorted({f"{one.mode}{' after the index' if one.exhausted else ''}" for one in found}),
            "fewest": min(len(one.matches) for one in found),
            "recall": round(fmean(len(some & every) / len(every) if every else 1.0 for some, every in pairs), 3),
        }

    answer: dict[str, Any] = {"unfiltered": compared(Scope())}
    for name in SHARES:
        most = passing(name, images)
        ways = {**_ways(name, images), "far": {"metadata": {"far": {"lt": most}}}}
        answer[name] = {way: compared(Scope(filter=Filter.model_validate(asked))) for way, asked in ways.items()}
        answer[name]["collection"] = compared(Scope(collection=_slug(name)))
        print(os.getloadavg()[0], name, json.dumps(answer[name]), flush=True)
    return answer


def _switch_over(images: int) -> dict[str, Any]:
    """At which number of candidates is the index quicker? In a collection, and behind a filter that an index finds."""
    from umbel.gallery.filters import Filter  # noqa: PLC0415
    from umbel.search.nearest import Scope, nearest_images  # noqa: PLC0415

    queries = list(unit_vectors(np.random.default_rng(5), QUERIES // 2))
    scopes = {f"collection of {passing(name, images):,}": Scope(_slug(name)) for name in ("1 %", "10 %", "50 %")}
    for years in (1, 2, 5):
        some = {"metadata": {"year": {"in": list(range(2000, 2000 + years))}}}
        scopes[f"filter that {images // 25 * years:,} pass"] = Scope(filter=Filter.model_validate(some))
    answer = {}
    for name, scope in scopes.items():
        took: dict[str, list[float]] = {"exact": [], "index": []}
        recalls = []
        for query in queries:
            began = time.perf_counter()
            true = nearest_images(None, query, k=K, scope=scope, exact=True).matches
            took["exact"].append(time.perf_counter() - began)
            began = time.perf_counter()
            found = nearest_images(None, query, k=K, scope=scope, only_ef=300).matches
            took["index"].append(time.perf_counter() - began)
            recalls.append(len({one.image_id for one in true} & {one.image_id for one in found}) / len(true))
        row = {f"{way}, p50 ms": round(1000 * median(times), 1) for way, times in took.items()}
        answer[name] = {**row, "recall of the index": round(fmean(recalls), 3)}
    return answer


def _ways(name: str, images: int) -> dict[str, dict[str, Any]]:
    """Filters that so many images pass."""
    return {
        "by an index": {"metadata": {"group": name}},
        "by a range": {"metadata": {"n": {"lt": passing(name, images)}}},
    }


def _p50_ms(work: Callable[[], object]) -> float:
    work()
    return round(1000 * median(seconds(work) for _ in range(TIMES)), 1)


def _lists(images: int) -> dict[str, Any]:
    """The first page, and the number of all that pass."""
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.gallery.filters import Filter  # noqa: PLC0415
    from umbel.gallery.images import list_images  # noqa: PLC0415
    from umbel.gallery.passing import count_passing  # noqa: PLC0415

    answer: dict[str, Any] = {}
    with transaction() as session:
        for name, way in product(SHARES, ("by an index", "by a range")):
            asked = Filter.model_validate(_ways(name, images)[way])
            row = answer.setdefault(name, {})
            page = partial(list_images, session, collection=None, asked=asked, before=None, limit=PAGE)
            row[f"page {way}, p50 ms"] = _p50_ms(page)
            row[f"total {way}, p50 ms"] = _p50_ms(partial(count_passing, session, asked, collection=None))
    return answer


def _facets(images: int) -> dict[str, Any]:
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.gallery.facets import By, count_facets  # noqa: PLC0415
    from umbel.gallery.filters import Filter  # noqa: PLC0415

    answer: dict[str, Any] = {}
    filters = {"all": {}, "1 %": _ways("1 %", images)["by an index"], "50 %": _ways("50 %", images)["by a range"]}
    with transaction() as session:
        for by in ("label", "collection", "created_at.day", "metadata.year", "metadata.tags", "metadata.n"):
            answer[by] = {
                f"{name}, p50 ms": _p50_ms(
                    partial(
                        count_facets, session, By.parse(by), Filter.model_validate(asked), collection=None, limit=PAGE
                    )
                )
                for name, asked in filters.items()
            }
    return answer


if __name__ == "__main__":
    main()

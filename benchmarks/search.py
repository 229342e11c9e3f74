"""How exact and how fast is a search, with filters and without, and what does HTTP add to it?

Run `python -m benchmarks.search [--images 100000] [--folder FOLDER]`: embeddings of FOLDER's class folders (else of the
drawn sample garden) and perturbed copies of them. The whole stack runs on the same cores; the client keeps its
connection open. Exact: the same search without the index. SQL: the statement alone, through psycopg, prepared, on a
connection of its own. Compute: decode, a forward of one and that statement in one process.
"""

import argparse
import base64
import http.client
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median
from typing import Any
from uuid import UUID

import psycopg
from pgvector import HalfVector

from benchmarks.common import BLOCKS, interleaved, own_home, spread, whole_stack, write
from benchmarks.gallery import embed_folder, fill, perturbed

K = 10
QUERIES = 60
SELECTIVITIES = (1, 10, 50)  # percent of the gallery that passes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with own_home(), whole_stack():
        write("search", _answer(asked.images, asked.folder))


def _answer(images: int, folder: Path | None) -> dict[str, object]:
    from umbel.base.settings import settings  # noqa: PLC0415 - settings are read at the first use, so the home comes first
    from umbel.models.versions import VersionKey  # noqa: PLC0415
    from worker.models import load_active_model  # noqa: PLC0415

    embedder, version_id = load_active_model(settings())
    vectors, labels = embed_folder(embedder, folder)
    built = _fill(version_id, embedder.dim, perturbed(vectors, images), labels)
    queries = perturbed(vectors, len(vectors) + QUERIES, seed=1)[-QUERIES:]
    version = VersionKey(version_id, embedder.dim)
    return {
        "images": images,
        "real_embeddings": len(vectors),
        **built,
        **_recall_and_filters(version, queries),
        "http": _http(version, embedder, queries, folder),
    }


def _fill(version_id: UUID, dim: int, vectors: Any, labels: Sequence[str]) -> dict[str, object]:
    """The gallery as a bulk load leaves it: rows first, then the index."""
    from sqlalchemy import text  # noqa: PLC0415

    from umbel.base.database import autocommit, transaction  # noqa: PLC0415
    from umbel.base.locks import only_one  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415
    from umbel.models import partitions  # noqa: PLC0415

    # With the lock that building takes: the worker sees no load, and would build the index while rows still come.
    with only_one(partitions.index_name(version_id)) as ours:
        assert ours
        with transaction() as session:
            partitions.drop_index(session, version_id)
        began = time.perf_counter()
        fill(version_id, vectors, labels)
        filled = time.perf_counter() - began
    with autocommit() as connection:
        memory, processes = settings().index_memory_mb, settings().index_processes
        partitions.build_index(connection, version_id, dim, memory_mb=memory, processes=processes)
    indexed = time.perf_counter() - began - filled
    with autocommit() as connection:
        connection.execute(text("VACUUM ANALYZE"))
    return {"fill_seconds": round(filled, 1), "index_seconds": round(indexed, 1), "hnsw": asdict(partitions.Hnsw())}


def _recall_and_filters(version: Any, queries: Any) -> dict[str, object]:
    from umbel.gallery.filters import Filter  # noqa: PLC0415
    from umbel.search.nearest import Scope, nearest_images  # noqa: PLC0415

    def search(query: Any, scope: Scope, exact: bool) -> Any:
        return nearest_images(None, query, version=version, k=K, scope=scope, exact=exact)

    def compared(scope: Scope) -> dict[str, Any]:
        # All searches through the index, then all exact ones, twice over and once to warm up: nobody alternates the two
        # in use, and each leaves the caches of the processor to the other.
        measured(scope, exact=False)
        passes = [(measured(scope, exact=False), measured(scope, exact=True)) for _ in range(2)]
        found, ours = zip(*(one for some, _ in passes for one in some), strict=True)
        true, exact = zip(*(one for _, some in passes for one in some), strict=True)
        pairs = [(ids(some.matches), ids(every.matches)) for some, every in zip(found, true, strict=True)]
        return {
            "modes": sorted({one.mode for one in found}),
            "recall": round(fmean(len(some & every) / len(every) for some, every in pairs), 4),
            "short_answers": sum(len(some) < len(every) for some, every in pairs),
            "p50_ms": round(1000 * median(ours), 2),
            "exact_p50_ms": round(1000 * median(exact), 2),
            "exact_over_ours": round(median(exact) / median(ours), 1),
        }

    def measured(scope: Scope, *, exact: bool) -> list[tuple[Any, float]]:
        return [timed(query, scope, exact) for query in queries]

    def timed(query: Any, scope: Scope, exact: bool) -> tuple[Any, float]:
        began = time.perf_counter()
        found = search(query, scope, exact)
        return found, time.perf_counter() - began

    def ids(matches: Any) -> set[UUID]:
        return {match.image_id for match in matches}

    unfiltered = compared(Scope())
    filtered = {}
    for percent in SELECTIVITIES:
        asked = Filter.model_validate({"metadata": {"percent": {"$lt": percent}}})
        filtered[f"{percent} %"] = found = compared(Scope(filter=asked))
        found["over_unfiltered"] = round(found["p50_ms"] / unfiltered["p50_ms"], 2)
    return {"recall_at_10": unfiltered, "filtered": filtered}


def _http(version: Any, embedder: Any, queries: Any, folder: Path | None) -> dict[str, object]:
    from umbel.base.settings import settings  # noqa: PLC0415

    picture = _a_image(folder)
    api = http.client.HTTPConnection("127.0.0.1", settings().port)  # the least that a client can cost

    def asked(method: str, path: str, body: str | None = None) -> Any:
        api.request(method, path, body, {"Content-Type": "application/json"})
        answer = api.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return json.loads(content)

    with psycopg.connect(**_address(), autocommit=True) as connection:
        connection.execute(f"SELECT set_config('hnsw.ef_search', ef_search_for({K}, false)::text, false)")
        connection.execute("SET hnsw.iterative_scan = relaxed_order")
        ids = [UUID(image["image_id"]) for image in asked("GET", f"/v1/images?limit={QUERIES}")["items"]]
        vectors = [json.dumps({"vector": query.tolist(), "k": K}) for query in queries]
        pictures = [json.dumps({"image": base64.b64encode(picture).decode(), "k": K})] * (QUERIES // 3)
        width = f"halfvec({version.dim})"
        nearest = f"""
            SELECT near.image_id, near.distance, image.label, image.metadata, collection.name
            FROM (SELECT image_id, vector::{width} <=> %s::{width} AS distance FROM embedding
                  WHERE model_version_id = '{version.id}' ORDER BY 2 LIMIT {K}) near
            JOIN image ON image.id = near.image_id JOIN collection ON collection.id = image.collection_id
        """
        stored = f"SELECT vector::text FROM embedding WHERE model_version_id = '{version.id}' AND image_id = %s"

        def sql(query: Any) -> Any:
            return connection.execute(nearest, [HalfVector(query).to_text()], prepare=True).fetchall()

        def sql_by_id(image_id: UUID) -> Any:
            [[vector]] = connection.execute(stored, [image_id], prepare=True).fetchall()
            return connection.execute(nearest, [vector], prepare=True).fetchall()

        def each(work: Callable[[Any], Any], over: Sequence[Any]) -> Callable[[], None]:
            def run() -> None:
                for one in over:
                    times[work].append(_seconds(work, one))

            return run

        def compute(data: bytes) -> Any:
            return sql(embedder.embed([embedder.decode(data)])[0])

        works: dict[str, tuple[Callable[[Any], Any], Sequence[Any]]] = {
            "vector": (lambda body: asked("POST", "/v1/search", body), vectors),
            "vector_sql": (sql, queries),
            "id": (lambda image_id: asked("GET", f"/v1/images/{image_id}/similar?k={K}"), ids),
            "id_sql": (sql_by_id, ids),
            "picture": (lambda body: asked("POST", "/v1/search", body), pictures),
            "image_compute": (compute, [picture] * len(pictures)),
        }
        times: dict[Callable[[Any], Any], list[float]] = {work: [] for work, _ in works.values()}
        interleaved(**{name: each(work, over) for name, (work, over) in works.items()})
        p50 = {name: _medians(times[work], len(over)) for name, (work, over) in works.items()}
    return {
        "p50_ms": {name: spread(values) for name, values in p50.items()},
        "vector_over_sql": spread(_ratios(p50["vector"], p50["vector_sql"])),
        "id_over_sql": spread(_ratios(p50["id"], p50["id_sql"])),
        "image_over_compute": spread(_ratios(p50["picture"], p50["image_compute"])),
    }


def _address() -> dict[str, Any]:
    from umbel.base.settings import settings  # noqa: PLC0415

    return {"host": str(settings().socket_dir), "user": "umbel", "dbname": "umbel"}


def _a_image(folder: Path | None) -> bytes:
    from garden import draw_specimen  # noqa: PLC0415

    if folder is not None:
        return next(folder.rglob("*.jpg")).read_bytes()
    out = io.BytesIO()
    draw_specimen(1, 0, 0, size=384).save(out, "JPEG", quality=88)
    return out.getvalue()


def _seconds(work: Callable[[Any], Any], over: Any) -> float:
    began = time.perf_counter()
    work(over)
    return time.perf_counter() - began


def _medians(times: list[float], block: int) -> list[float]:
    """Milliseconds: the median of each block, without the first, which warms up."""
    return [1000 * median(times[at : at + block]) for at in range(block, block * (BLOCKS + 1), block)]


def _ratios(ours: list[float], raw: list[float]) -> list[float]:
    return [mine / limit for mine, limit in zip(ours, raw, strict=True)]


if __name__ == "__main__":
    main()

"""Is an HNSW index of bits, whose candidates are ranked again by their vectors, better than one of half floats?

Run `python -m benchmarks.binary [--images 100000] [--folder FOLDER]`: perturbed copies of real embeddings (FOLDER's,
else the drawn sample garden's) in two tables, one with the index that Umbel builds, one with an index of
`binary_quantize(vector)` by Hamming distance. Both take their turns at the same queries, with more and more
candidates. recall: of the ten nearest, by the exact scan. Source of the second way: README of pgvector, "Binary
Quantization".
"""

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from pgvector import HalfVector

from benchmarks.common import own_home, write
from benchmarks.database import DIM, own_server
from benchmarks.gallery import embed_folder, perturbed

K = 10
QUERIES = 100
ROUNDS = 5
EF = {"float": (64, 128, 256), "bits": (64, 128, 256, 512, 1000)}
M, EF_CONSTRUCTION = 16, 64
WITH = f"WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})"
INDEXED = {
    "float": f"(vector halfvec_cosine_ops) {WITH}",
    "bits": f"((binary_quantize(vector)::bit({DIM})) bit_hamming_ops) {WITH}",
}
NEAREST = {
    "exact": f"/* a plan of its own */ SELECT id FROM float_vectors ORDER BY vector <=> %(query)s::halfvec LIMIT {K}",
    "float": f"SELECT id FROM float_vectors ORDER BY vector <=> %(query)s::halfvec LIMIT {K}",
    "bits": f"""
        SELECT id FROM (
            SELECT id, vector FROM bits_vectors
            ORDER BY binary_quantize(vector)::bit({DIM}) <~> binary_quantize(%(query)s::halfvec) LIMIT %(candidates)s
        ) candidate ORDER BY vector <=> %(query)s::halfvec LIMIT {K}
    """,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="class folders of photographs")
    asked = parser.parse_args()
    with own_home() as home:
        from ml.runtime import load_embedder  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415 - settings are read at the first use, so the home comes first

        originals, _ = embed_folder(load_embedder(settings()), asked.folder)
        queries = perturbed(originals[::7], 2 * len(originals[::7]), seed=3)[len(originals[::7]) :][:QUERIES]
        with own_server(home, shared_buffers="4GB") as server, server.connect("umbel") as connection:
            built = {name: _built(connection, name, perturbed(originals, asked.images)) for name in INDEXED}
            connection.execute("SET enable_seqscan = off; SET enable_sort = on; SET jit = off")
            found = _found(connection, queries)
    write(
        "binary" if asked.images <= 100_000 else "binary_large",
        {"images": asked.images, "real_embeddings": len(originals), "k": K, "indexes": built, "by_candidates": found},
    )


def _built(connection: Any, name: str, vectors: Any) -> dict[str, Any]:
    table = f"{name}_vectors"
    connection.execute(f"CREATE UNLOGGED TABLE {table} (id int, vector halfvec({DIM}))")
    with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        for number, vector in enumerate(vectors):
            copy.write_row((number, HalfVector(vector).to_text()))
    connection.execute("SET maintenance_work_mem = '2GB'; SET max_parallel_maintenance_workers = 2")
    began = time.perf_counter()
    connection.execute(f"CREATE INDEX {name}_index ON {table} USING hnsw {INDEXED[name]}")
    taken = time.perf_counter() - began
    connection.execute(f"VACUUM ANALYZE {table}")
    [[size]] = connection.execute(f"SELECT pg_relation_size('{name}_index')").fetchall()
    return {"build_seconds": round(taken, 1), "index_mb": round(size / 2**20, 1)}


def _found(connection: Any, queries: Any) -> dict[str, dict[str, Any]]:
    texts = [HalfVector(query).to_text() for query in queries]
    connection.execute("SET enable_indexscan = off; SET enable_seqscan = on")
    right = [_nearest(connection, "exact", query, 0) for query in texts]
    connection.execute("SET enable_indexscan = on; SET enable_seqscan = off")
    ways = [(name, candidates) for name, some in EF.items() for candidates in some]
    times: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    recall: dict[tuple[str, int], float] = {}
    for round_ in range(ROUNDS + 1):
        for way in ways if round_ % 2 else ways[::-1]:
            connection.execute(f"SET hnsw.ef_search = {way[1]}")
            hits = 0
            for query, wanted in zip(texts, right, strict=True):
                began = time.perf_counter()
                hits += len(_nearest(connection, way[0], query, way[1]) & wanted)
                if round_:  # the first round warms up
                    times[way].append(1000 * (time.perf_counter() - began))
            recall[way] = hits / (K * len(texts))
    return {
        f"{name}, {candidates}": {
            "recall": round(recall[name, candidates], 3),
            "p50_ms": round(median(times[name, candidates]), 2),
            "p99_ms": round(float(np.percentile(times[name, candidates], 99)), 2),
        }
        for name, candidates in ways
    }


def _nearest(connection: Any, way: str, query: str, candidates: int) -> set[int]:
    values = {"query": query, "candidates": candidates}
    return {row[0] for row in connection.execute(NEAREST[way], values, prepare=True)}


if __name__ == "__main__":
    main()

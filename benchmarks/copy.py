"""How much faster does our bulk write store embeddings than plain INSERTs do?

Run `python -m benchmarks.copy`: the same rows into the same partition, which has its primary key and foreign keys and
no HNSW index (benchmarks/index_build.py), by turns and emptied in between; Postgres as durable as `umbel up` starts it.
All send the vectors as binary halfvec. Bulk: `upsert_embeddings`, a binary COPY into a staging table and
INSERT ... SELECT ... ON CONFLICT from there, in one transaction for all, and in one for each batch, as workers do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from pgvector import HalfVector

from benchmarks.common import BLOCKS, own_home, seconds, spread, write
from benchmarks.database import DIM, add_version, own_database, own_server
from benchmarks.gallery import fill

ROWS = 5_000
SINGLE = 500  # rows of a block that are committed one by one: that takes long enough
BATCH = 32
INSERT = "INSERT INTO embedding (model_version_id, image_id, collection_id, vector) VALUES (%s, %s, %s, %s)"


@dataclass(frozen=True)
class Rows:
    """What is stored: images (image id, collection id) and their vectors (n, DIM), under a version."""

    version: UUID
    images: Sequence[tuple[UUID, UUID]]
    vectors: Any

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int, start: int = 0) -> "Rows":
        part = slice(start, start + count)
        return Rows(self.version, self.images[part], self.vectors[part])

    def values(self) -> list[tuple[Any, ...]]:
        return [(self.version, *image, HalfVector(v)) for image, v in zip(self.images, self.vectors, strict=True)]


def main() -> None:
    with own_home() as home, own_server(home) as server, own_database(server, "copy"):
        rows = _rows()
        with server.connect("copy", "umbel") as connection:
            ways: dict[str, tuple[Rows, Callable[[Rows], None]]] = {
                "copy": (rows, copy),
                "copy_by_batches": (rows, copy_by_batches),
                "executemany": (rows, lambda some: executemany(connection, some)),
                "single": (rows.first(SINGLE), lambda some: single(connection, some)),
            }
            rates = _measure(connection, ways)
    over = {name: [a / b for a, b in zip(found, rates["single"], strict=True)] for name, found in rates.items()}
    write(
        "copy",
        {
            "rows": ROWS,
            "dim": DIM,
            "batch": BATCH,
            "rows_per_second": {name: spread(found) for name, found in rates.items()},
            "over_single": {name: spread(found) for name, found in over.items() if name != "single"},
        },
    )


def copy(rows: Rows) -> None:
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.embedding.embeddings import upsert_embeddings  # noqa: PLC0415 - settings are read at the first use, see own_home

    with transaction() as session:
        upsert_embeddings(session, rows.version, rows.images, rows.vectors)


def copy_by_batches(rows: Rows) -> None:
    for start in range(0, len(rows), BATCH):
        copy(rows.first(BATCH, start))


def executemany(connection: psycopg.Connection[Any], rows: Rows) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(INSERT, rows.values())


def single(connection: psycopg.Connection[Any], rows: Rows) -> None:
    for values in rows.values():
        connection.execute(INSERT, values, prepare=True)


def _rows() -> Rows:
    from sqlalchemy import text  # noqa: PLC0415

    from umbel.base.database import transaction  # noqa: PLC0415

    version = add_version(indexed=False).id
    vectors = np.random.default_rng(1).normal(size=(ROWS, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = fill(version, vectors, ["a label"])
    with transaction() as session:
        owner = session.scalars(text("SELECT id FROM collection")).one()
    return Rows(version, [(image_id, owner) for image_id in ids], vectors)


def _measure(
    connection: psycopg.Connection[Any], ways: dict[str, tuple[Rows, Callable[[Rows], None]]]
) -> dict[str, list[float]]:
    """Rows a second of each way in each block; after one that does not count; the order alternates."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for block in range(BLOCKS + 1):
        for name in list(ways)[:: 1 if block % 2 else -1]:
            rows, way = ways[name]
            connection.execute("TRUNCATE embedding")
            taken = seconds(lambda way=way, rows=rows: way(rows))  # type: ignore[misc]
            stored = connection.execute("SELECT count(*) FROM embedding").fetchone()
            assert stored == (len(rows),), (name, stored)
            if block:
                rates[name].append(len(rows) / taken)
    return rates


if __name__ == "__main__":
    main()

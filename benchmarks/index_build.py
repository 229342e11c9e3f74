"""How much faster is it to load a gallery and then build its HNSW index than to load it into the index?

Run `python -m benchmarks.index_build [--images 100000]`: the same vectors, clustered as embeddings are, written by
`upsert_embeddings` into two partitions of one database: one with its empty index in place, one without,
which then gets it by `CREATE INDEX CONCURRENTLY`, as a large import does. They are loaded part by part, by turns. The
dearer the larger the index: 20,000 images say less than 100,000 do, which take minutes.
"""

import argparse
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np

from benchmarks.common import own_home, seconds, write
from benchmarks.database import DIM, add_version, own_database, own_server
from benchmarks.gallery import fill, perturbed

IMAGES = 20_000
PARTS = 10
PORTION = 1_000  # rows in one transaction, as an import stores them
ORIGINALS = 4_000
KINDS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES)
    images = parser.parse_args().images
    vectors = perturbed(_originals(), images)
    with own_home() as home, own_server(home) as server, own_database(server, "index_build"):
        from umbel.base.database import transaction  # noqa: PLC0415
        from umbel.embedding import embeddings  # noqa: PLC0415 - settings are read at the first use, so the home comes first

        stored, versions = _versions(vectors)
        load: dict[str, list[float]] = {name: [] for name in versions}
        for part, (begin, end) in enumerate(pairwise(np.linspace(0, images, PARTS + 1).astype(int))):
            for name in list(versions)[:: 1 if part % 2 else -1]:
                began = time.perf_counter()
                for at in range(begin, end, PORTION):
                    rows = slice(at, min(at + PORTION, end))
                    with transaction() as session:
                        embeddings.upsert_embeddings(session, versions[name].id, stored[rows], vectors[rows])
                load[name].append(time.perf_counter() - began)
        build = seconds(lambda: _build(versions["then_build"]))
    then_build, into_index = sum(load["then_build"]) + build, sum(load["into_index"])
    write(
        "index_build_large" if images > IMAGES else "index_build",
        {
            "images": images,
            "dim": DIM,
            "load_then_build_seconds": {"load": round(then_build - build, 1), "build": round(build, 1)},
            "load_into_index_seconds": {
                "load": round(into_index, 1),
                "by_part": [round(each, 1) for each in load["into_index"]],
            },
            "times_faster": round(into_index / then_build, 2),
        },
    )


def _versions(vectors: Any) -> tuple[Sequence[tuple[UUID, UUID]], dict[str, Any]]:
    """The images (image id, collection id) that the vectors are of, and the versions to store them under."""
    from sqlalchemy import text  # noqa: PLC0415

    from umbel.base.database import transaction  # noqa: PLC0415

    versions = {name: add_version(name, indexed=name == "into_index") for name in ("then_build", "into_index")}
    ids = fill(versions["then_build"].id, vectors, ["a label"])
    with transaction() as session:
        session.execute(text("TRUNCATE embedding"))
        owner = session.scalars(text("SELECT id FROM collection")).one()
    return [(image_id, owner) for image_id in ids], versions


def _build(version: Any) -> None:
    from umbel.base.database import autocommit  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415
    from umbel.models import partitions  # noqa: PLC0415

    memory, processes = settings().index_memory_mb, settings().index_processes
    with autocommit() as connection:
        assert partitions.build_index(connection, version.id, version.dim, memory_mb=memory, processes=processes)


def _originals() -> Any:
    """Unit vectors (ORIGINALS, DIM) in KINDS clusters, as far apart within one as pictures of one species are."""
    rng = np.random.default_rng(1)
    kinds, own = rng.normal(size=(KINDS, DIM)), rng.normal(size=(ORIGINALS, DIM))
    vectors = kinds[np.arange(ORIGINALS) % KINDS] + 0.6 * own
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    main()

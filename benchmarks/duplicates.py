"""How long does it take to compare a gallery with itself, and a few new pictures with it; and what is found?

Embeddings are those of real pictures, and of copies with noise of their own; the bytes behind each are those of its
original, so all that is near is also decoded and looked at. The line runs in this process, its decoders and Postgres
beside it, on all cores there are.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from benchmarks.common import own_home, seconds, write
from benchmarks.gallery import embed_folder, fill, perturbed

FRESH = 100
SAMPLE = 200  # pictures whose neighbors are compared with those of an exact search


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--photos", type=Path, help="a folder of class folders; without one, the drawn garden")
    options = parser.parse_args()
    with own_home() as home:
        from stack.postgres import Postgres  # noqa: PLC0415
        from umbel.base import schema  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415

        server = Postgres(home, settings().socket_dir)
        server.start()
        try:
            schema.upgrade(settings().database)
            write("duplicates", _measure(options.photos or _garden(home), options.images))
        finally:
            server.stop()


def _garden(home: Path) -> Path:
    from garden import draw_garden  # noqa: PLC0415

    list(draw_garden(home / "garden", species=40, per_species=12))  # it draws as it is asked
    return home / "garden"


def _measure(folder: Path, count: int) -> dict[str, object]:
    from benchmarks.duplicates_quality import measure_copies, measure_flips  # noqa: PLC0415
    from ml.data.duplicates import quick_pixel_similarities  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415
    from umbel.insights.comparison import ComparisonHandler  # noqa: PLC0415
    from umbel.jobs.leases import Leases  # noqa: PLC0415
    from umbel.models.calibration import calibration_of  # noqa: PLC0415
    from worker.decoders import WorkerDecoders  # noqa: PLC0415
    from worker.models import load_active_model  # noqa: PLC0415

    from umbel.base.database import transaction  # noqa: PLC0415  isort: skip

    embedder, version_id = load_active_model(settings())
    vectors, labels = embed_folder(embedder, folder)
    version = _version(version_id)
    quality = {
        "near-duplicates": measure_copies(embedder, folder, vectors),
        "label issues": measure_flips(vectors, labels, calibration_of(version)),
    }
    everything = perturbed(vectors, count + FRESH)
    taken: dict[str, float] = {"load": seconds(lambda: _load(version_id, folder, everything[:count], labels))}
    taken["index"] = seconds(_build_index)
    with WorkerDecoders(embedder.card.preprocessing, settings()) as decoder:
        leases = Leases(transaction, "bench", 60)
        line = ComparisonHandler(
            transaction=transaction,
            settings=settings(),
            leases=leases,
            decoder=decoder,
            pixel_similarities=quick_pixel_similarities,
        )
        taken["queue"] = seconds(_begin)
        taken["compare"] = seconds(line.run)
        taken["list"] = seconds(_list)
        taken["list without pixels"] = seconds(lambda: _list(min_pixel_similarity=0, max_distance=0.05))
        taken["list label issues"] = seconds(_list_labels)
        _load(version_id, folder, everything[count:], labels)
        taken["queue new"] = seconds(_begin)
        taken["compare new"] = seconds(line.run)
    return {
        "pictures": count,
        "originals": len(vectors),
        "new": FRESH,
        "seconds": {name: round(value, 2) for name, value in taken.items()},
        "compared_a_second": round(count / taken["compare"]),
        "neighbours_found": _recall(version, everything[:count]),
        "quality": quality,
    }


def _version(version_id: UUID) -> Any:
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.models import versions  # noqa: PLC0415

    with transaction() as session:
        return versions.get_version(session, version_id)


def _load(version_id: UUID, folder: Path, vectors: Any, labels: list[str]) -> None:
    """Images with the bytes of their originals; the first load goes without the index, as an import's would."""
    from sqlalchemy import text  # noqa: PLC0415

    from ml.data.dataset import class_files  # noqa: PLC0415
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415
    from umbel.models import partitions  # noqa: PLC0415

    files = [path for path, _ in class_files(folder).files]
    store = settings().home / "blobs" / "none"
    first = not store.exists()
    collection = "default" if first else "new"
    if first:
        store.mkdir(parents=True)
        for number, path in enumerate(files):
            shutil.copy(path, store / f"{number}")
        with transaction() as session:
            partitions.drop_index(session, version_id)
    fill(version_id, vectors, labels, collection=collection)
    with transaction() as session:
        numbered = "substring(blob_key FROM 6)::int"
        session.execute(
            text(f"UPDATE image SET blob_key = 'none/' || {numbered} % :n WHERE length(blob_key) = 14"),
            {"n": len(files)},
        )
        if not first:  # into the collection that they are to be compared with
            for table in ("embedding", "image"):
                session.execute(
                    text(f"""
                        UPDATE {table} SET collection_id = (SELECT id FROM collection WHERE name = 'default')
                        WHERE collection_id = (SELECT id FROM collection WHERE name = 'new')
                    """)
                )
    if first:
        with transaction() as session:
            session.execute(text("ANALYZE"))


def _build_index() -> None:
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415
    from umbel.models.indexing import build_index  # noqa: PLC0415

    assert build_index(transaction, settings())


def _begin() -> None:
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.insights.comparison import begin_comparison  # noqa: PLC0415
    from umbel.jobs.wakeup import Waker  # noqa: PLC0415

    # Nobody listens there: this process is the worker.
    nobody = Waker("redis+socket:///nowhere", "unix:///nowhere")
    assert begin_comparison(transaction, nobody, collection="default")


def _list(*, min_pixel_similarity: float = 0.8, max_distance: float = 0.5) -> None:
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.insights.duplicates import find_duplicates  # noqa: PLC0415

    with transaction() as session:
        find_duplicates(
            session,
            collection="default",
            max_distance=max_distance,
            min_pixel_similarity=min_pixel_similarity,
            before=None,
            limit=50,
        )


def _list_labels() -> None:
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.insights.label_errors import find_label_issues  # noqa: PLC0415

    with transaction() as session:
        find_label_issues(session, collection="default", min_probability=0.5, after=None, limit=50)


def _recall(version: Any, vectors: Any) -> float:
    """Share of the 16 nearest of some pictures that the comparison found, by distance: ties may go either way."""
    from sqlalchemy import text  # noqa: PLC0415

    from umbel.base.database import transaction  # noqa: PLC0415

    with transaction() as session:
        rows = session.execute(
            text(f"""
                SELECT n.distances, e.vector::text FROM nearest_neighbors n
                JOIN embedding e ON e.image_id = n.image_id AND e.model_version_id = '{version.id}'
                WHERE cardinality(n.distances) = 16 ORDER BY n.image_id LIMIT :n
            """),
            {"n": SAMPLE},
        ).all()
    found = 0
    stored = vectors.astype(np.float16).astype(np.float32)
    for distances, vector in rows:
        query = np.array(str(vector).strip("[]").split(","), np.float32)
        exact = np.sort(1 - stored @ query / np.linalg.norm(query))[1:17]
        found += int((np.array(distances) <= exact[-1] + 1e-4).sum())
    return round(found / (16 * len(rows)), 4)


if __name__ == "__main__":
    main()

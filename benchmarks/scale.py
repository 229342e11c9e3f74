"""What do a million, ten million, a hundred million and a billion pictures take?

Bytes a picture are measured here, in a real database filled with PICTURES random embeddings; so is decoding. Rates of
importing and of building an index are those of the other benchmarks (results/*.json). The rest is arithmetic, written
out in `estimate`. docs/explanation/scale.md shows the table and says what it leaves out.
"""

import io
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import RESULTS, own_home, write

IMAGES = 20_000
DIM = 512
SIZES = (10**6, 10**7, 10**8, 10**9)
SIDES = {"640 x 480": (640, 480), "12 megapixels": (4000, 3000)}
HOUR = 3600


def main() -> None:
    with own_home() as home:
        measured = {
            "bytes_a_image": _bytes(home),
            "decoded_a_second_a_core": {k: _decoding(v) for k, v in SIDES.items()},
        }
    rates = current_rates()
    table = {f"{size:.0e}": estimate(size, measured, rates) for size in SIZES}
    write("scale", {"pictures": IMAGES, "dim": DIM, **measured, "rates": rates, "table": table})


def estimate(images: int, measured: dict[str, Any], rates: dict[str, float]) -> dict[str, float]:
    """For so many pictures of 640 x 480, 100 kB each."""
    size = measured["bytes_a_image"]
    # Each insertion looks for its neighbors among those that are there: it takes longer by the logarithm.
    growth = math.log(images) / math.log(rates["indexed_images"])
    return {
        "images_tb": round(images * 1e5 / 1e12, 2),
        "tables_gb": round(images * (size["image"] + size["item"] + size["embedding"]) / 1e9, 1),
        "index_gb": round(images * size["hnsw"] / 1e9, 1),
        "import_core_hours": round(images / rates["imported_a_second_a_core"] / HOUR, 1),
        "gpu_hours": round(images / rates["imported_a_second_a_gpu"] / HOUR, 1),
        "index_core_hours": round(images / rates["indexed_a_second_a_core"] * growth / HOUR, 1),
    }


COLUMNS = {
    "images_tb": ("originals", "{:,.1f} TB"),
    "tables_gb": ("tables", "{:,.0f} GB"),
    "index_gb": ("HNSW index", "{:,.0f} GB"),
    "import_core_hours": ("import on CPUs", "{:,.0f} core hours"),
    "gpu_hours": ("import with GPUs", "{:,.1f} GPU hours"),
    "index_core_hours": ("building the index", "{:,.1f} core hours"),
}


def page_table(answer: dict[str, Any]) -> str:
    """The table of docs/explanation/scale.md."""
    head = ["pictures", *(title for title, _ in COLUMNS.values())]
    lines = [head, ["---:"] * len(head)]
    for size, row in answer["table"].items():
        lines.append([f"{int(float(size)):,}", *(shape.format(row[key]) for key, (_, shape) in COLUMNS.items())])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def current_rates() -> dict[str, float]:
    imports, on_gpu, index = _result("bulk_import"), _result("bulk_import_gpu_4"), _result("index_build_large")
    building = index["load_then_build_seconds"]["build"]
    return {
        "imported_a_second_a_core": round(imports["per_second"] / imports["machine"]["cores"], 1),
        "imported_a_second_a_gpu": on_gpu["per_second"],
        "indexed_a_second_a_core": round(index["images"] / building / index["machine"]["cores"], 1),
        "indexed_images": index["images"],
    }


def _result(question: str) -> dict[str, Any]:
    return dict(json.loads((RESULTS / f"{question}.json").read_text()))


def _bytes(home: Path) -> dict[str, float]:
    """Of each table with its B-trees, and of the HNSW index, after a load and a vacuum."""
    from benchmarks.gallery import fill  # noqa: PLC0415 - settings are read at the first use, so the home comes first
    from stack.postgres import Postgres  # noqa: PLC0415
    from umbel.base import schema  # noqa: PLC0415
    from umbel.base.database import autocommit, transaction  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415
    from umbel.models import partitions, versions  # noqa: PLC0415

    server = Postgres(home, settings().socket_dir, durable=False)
    server.start()
    try:
        schema.upgrade(settings().database)
        with transaction() as session:
            version = versions.insert_model_version(
                session, name="scale", architecture="none", dim=DIM, weights_sha256="0" * 64, preprocessing_hash="none",
                card={},
            )  # fmt: skip
            partitions.create_partition(session, version.id, DIM, indexed=False)
            versions.activate_version(session, version.id)
        vectors = np.random.default_rng(1).normal(size=(IMAGES, DIM)).astype(np.float32)
        fill(version.id, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), ["a label"])
        with autocommit() as connection:
            partitions.build_index(connection, version.id, DIM, memory_mb=settings().index_memory_mb, processes=1)
        return _sizes(version.id.hex)
    finally:
        server.stop()


def _sizes(version: str) -> dict[str, float]:
    from sqlalchemy import text  # noqa: PLC0415

    from umbel.base.database import autocommit, engine  # noqa: PLC0415

    partition = f"embedding_{version}"
    with autocommit() as connection:
        connection.execute(text("INSERT INTO job (type, closed) VALUES ('import', true)"))
        connection.execute(
            text("""
                INSERT INTO job_item (job_id, image_id, queue, state, name, finished_at)
                SELECT (SELECT id FROM job), id, 'bulk', 'indexed', 'folder/picture ' || row_number() OVER (), now()
                FROM image
            """)
        )
        connection.execute(text("VACUUM FULL ANALYZE"))
        total, hnsw = "SELECT pg_total_relation_size(:name)", "SELECT pg_relation_size(:name)"
        index = connection.execute(text(hnsw), {"name": f"{partition}_hnsw"}).scalar_one()
        tables = {
            "image": connection.execute(text(total), {"name": "image"}).scalar_one(),
            "item": connection.execute(text(total), {"name": "job_item"}).scalar_one(),
            "embedding": connection.execute(text(total), {"name": partition}).scalar_one() - index,
            "hnsw": index,
        }
    engine().dispose()
    return {name: round(size / IMAGES) for name, size in tables.items()}


def _decoding(side: tuple[int, int]) -> float:
    """JPEGs of that size that one core brings to what the model takes, a second."""
    from ml.preprocess import Preprocessing  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415

    noise = np.random.default_rng(1).integers(0, 256, (side[1] // 8, side[0] // 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize(side, Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    decode, limits, data = Preprocessing().decode, settings(), file.getvalue()
    decode(data, limits=limits)
    began, count = time.process_time(), 0
    while (taken := time.process_time() - began) < 2:
        decode(data, limits=limits)
        count += 1
    return round(count / taken, 1)


if __name__ == "__main__":
    main()

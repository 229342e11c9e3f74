"""How fast do vectors go out and come in, in how much memory, and are they the same after the journey?

Run `python -m benchmarks.vectors [--images 100000]`: a gallery of vectors clustered as embeddings are, exported over
HTTP by the Python client as Parquet and as npz, each file brought in for an external model of its own, and that
exported again. Seconds are those of the client, to the last byte; memory is that of the API's processes, looked at all
along.
"""

import argparse
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]

from benchmarks.common import own_servers, write
from benchmarks.database import DIM, add_version
from benchmarks.gallery import fill, perturbed
from benchmarks.served import served

IMAGES = 10_000
ORIGINALS = 2_000
LOOKS = 0.1  # seconds between two looks at the memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--note", help="what the readers are to know of this run")
    asked = parser.parse_args()
    rng = np.random.default_rng(1)
    originals = rng.normal(size=(ORIGINALS, DIM)).astype(np.float32)
    originals /= np.linalg.norm(originals, axis=1, keepdims=True)
    figures: dict[str, Any] = {}
    with own_servers():
        version = add_version("active", indexed=False)
        fill(version.id, perturbed(originals, asked.images), [f"label {n}" for n in range(40)])
        with served() as api:
            folder = Path(os.environ["UMBEL_HOME"])
            for kind in ("parquet", "npz"):
                figures[kind] = _journey(api, kind, folder, asked.images)
    write(
        "vectors_large" if asked.images > IMAGES else "vectors",
        {"images": asked.images, "dim": DIM, **figures} | ({"note": asked.note} if asked.note else {}),
    )


def _journey(api: Any, kind: str, folder: Path, images: int) -> dict[str, Any]:
    from umbel_client import Umbel  # noqa: PLC0415 - it reads the environment, which the home changes

    out, back = folder / f"out.{kind}", folder / f"back.{kind}"
    with Umbel(f"http://127.0.0.1:{api.port}", timeout=600) as umbel, _watched(api.process) as memory:
        before = memory()
        began = time.perf_counter()
        umbel.export(out, collection="default")
        exported = time.perf_counter() - began
        model = umbel.models.register_external(f"external {kind}", DIM)
        began = time.perf_counter()
        job = umbel.models.bring_vectors(model.id, out)
        imported = time.perf_counter() - began
        assert (job.counts.indexed, job.counts.total) == (images, images), job
        umbel.export(back, model_version=model.id)
        return {
            "export_seconds": round(exported, 2),
            "exported_per_second": round(images / exported),
            "import_seconds": round(imported, 2),
            "imported_per_second": round(images / imported),
            "file_mb": round(out.stat().st_size / 1e6, 1),
            "api_memory_mb_before": round(before / 1e6),
            "api_memory_mb_most": round(memory() / 1e6),
            "equal_after_the_journey": _equal(out, back),
        }


def _equal(one: Path, other: Path) -> bool:
    ids, vectors = zip(*map(_read, (one, other)), strict=True)
    return bool(np.array_equal(*ids) and np.array_equal(*vectors))


def _read(path: Path) -> tuple[Any, Any]:
    if path.suffix == ".npz":
        with np.load(path) as file:
            return file["ids"], file["vectors"]
    import pyarrow.parquet  # noqa: PLC0415

    table = pyarrow.parquet.read_table(path, columns=["image_id", "vector"]).combine_chunks()
    return table["image_id"].to_numpy(), np.stack(table["vector"].to_numpy())


@contextmanager
def _watched(process: psutil.Process) -> Iterator[Any]:
    """Gives the largest sum of the resident memory of a process and its children so far, in bytes."""
    most, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(LOOKS):
            most[0] = max(most[0], sum(each.memory_info().rss for each in [process, *process.children()]))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        time.sleep(2 * LOOKS)
        yield lambda: most[0]
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    main()

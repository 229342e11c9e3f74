"""How fast is a bulk import beside forward and decoding alone, and does the worker's memory stay flat?

Run `python -m benchmarks.bulk_import [--images 20000 | --folder FOLDER] [--in-place]`: the real stack as processes, a
folder on the server imported through POST /v1/imports, then imported a second time. The raw forward of the same model,
and decoding by a thread a core, are measured in this process before and after, while the worker is idle;
of_forward_and_decode: the rate over that of one after the other. Memory: RSS of one worker process and of its decoders,
each second.
cpu_ms_a_image: user and system time of each part of the stack during the import, beside that of the raw forward.
"""

import argparse
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]

from benchmarks.common import cpu_seconds, embed_all, own_home, seconds, spread, whole_stack, write
from benchmarks.images import draw

WARM_UP = 0.2  # share of the import that memory may take to settle
RAW_BLOCKS = 5
WARMING = 64  # pictures before the first block


@dataclass(frozen=True)
class Sample:
    """done: items ended; bytes of resident memory."""

    at: float
    done: int
    worker: int
    decoders: int


def memory(worker: psutil.Process) -> tuple[int, int]:
    decoders = 0
    for child in worker.children(recursive=True):
        try:
            decoders += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return worker.memory_info().rss, decoders


def follow(api: Any, job_id: Any, worker: psutil.Process) -> Iterator[Sample]:
    while True:
        job = api.jobs.get(job_id, wait=1)
        yield Sample(time.monotonic(), job.counts.total - job.counts.pending, *memory(worker))
        if job.finished:
            return


def slope(samples: list[Sample], part: str, images: int) -> float:
    """Bytes a picture, least squares, after the warm-up."""
    kept = [sample for sample in samples if sample.done > WARM_UP * images]
    done = np.array([sample.done for sample in kept], float)
    return float(np.polyfit(done, [getattr(sample, part) for sample in kept], 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--in-place", action="store_true", help="without copying the pictures")
    parser.add_argument("--workers", type=int, default=1, help="that share the pictures; one GPU may have several")
    parser.add_argument("--folder", type=Path, help="of photographs, all of them, instead of drawn pictures")
    given = parser.parse_args()
    workers = int(given.workers)
    with own_home() as home:
        folder = given.folder or home / "pictures"
        if not given.folder:
            draw(folder, given.images)
        files = sorted(folder.rglob("*.jpg"))
        images = len(files)
        os.environ["UMBEL_IMPORT_ROOTS"] = str(folder)

        from umbel_client import Umbel  # noqa: PLC0415 - settings are read at the first use, so the environment comes first

        from ml.runtime import load_embedder  # noqa: PLC0415
        from ml.threads import decoding_processes  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415

        with whole_stack(workers) as parts:
            worker = parts["worker"]
            embedder = load_embedder(settings())
            step = max(1, images // 256)
            data = [path.read_bytes() for path in files[::step][:256]]
            pixels = [embedder.decode(each) for each in data]
            decoders = ThreadPoolExecutor(os.cpu_count())

            def decode() -> None:
                for _ in decoders.map(embedder.decode, data):
                    pass

            def raw() -> list[tuple[float, float]]:
                """Forwards and decodings a second, block by block."""
                embed_all(embedder, pixels[:WARMING])
                return [
                    (len(pixels) / seconds(lambda: embed_all(embedder, pixels)), len(data) / seconds(decode))
                    for _ in range(RAW_BLOCKS)
                ]

            before = raw()
            spent = time.process_time()
            embed_all(embedder, pixels)
            spent = (time.process_time() - spent) / len(pixels)
            with Umbel(f"http://127.0.0.1:{settings().port}") as api:

                def begin() -> Any:
                    return api.imports.folder(str(folder), collection="bulk", in_place=given.in_place).job_id

                idle, began = cpu_seconds(parts), time.monotonic()
                samples = list(follow(api, job_id := begin(), worker))
                took = time.monotonic() - began
                busy = cpu_seconds(parts)
                embedded = next(s.at for s in samples if s.done >= images) - began
                job = api.jobs.get(job_id)
                again = seconds(lambda: list(follow(api, begin(), worker)))
            after = raw()
    rate = images / embedded
    forwards, decodings = zip(*before, *after, strict=True)
    forward, decoding = float(np.median(forwards)), float(np.median(decodings))
    kinds = {
        "photographs": given.folder,
        "in_place": given.in_place,
        "gpu": embedder.device != "cpu",
        str(workers): workers > 1,
    }
    write(
        "_".join(["bulk_import", *(name for name, is_so in kinds.items() if is_so)]),
        {
            "pictures": images,
            "workers": workers,
            "decoders_a_worker": decoding_processes(settings()),
            "runtime": embedder.description,
            "counts": job.counts.as_dict(),
            "per_second": round(rate, 1),
            "seconds": {"embedded": round(embedded, 1), "indexed": round(took, 1), "second_import": round(again, 1)},
            "raw_per_second": spread(list(forwards)),
            "of_raw": round(rate / forward, 3),
            "decoded_per_second": spread(list(decodings)),
            "of_forward_and_decode": round(rate * (1 / forward + 1 / decoding), 3),
            "cpu_ms_a_image": {
                "raw_forward": round(1000 * spent, 2),
                **{name: round(1000 * (busy[name] - idle[name]) / images, 2) for name in busy},
            },
            "memory_mb": {
                part: {
                    "start": round(getattr(samples[0], part) / 2**20),
                    "end": round(getattr(samples[-1], part) / 2**20),
                    "most": round(max(getattr(sample, part) for sample in samples) / 2**20),
                }
                for part in ("worker", "decoders")
            },
            "worker_mb_by_images": {
                sample.done: round(sample.worker / 2**20) for sample in samples[:: max(1, len(samples) // 25)]
            },
            "bytes_a_image": {part: round(slope(samples, part, images)) for part in ("worker", "decoders")},
        },
    )


if __name__ == "__main__":
    main()

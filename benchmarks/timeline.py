"""Where does the time of a bulk load go? Every stage's spans in one worker's line, drawn one queue a stage.

Run `python -m benchmarks.timeline [--pictures 256]`: queued items are claimed, read, decoded, embedded and stored by
the line that workers run, on a real Postgres without the HNSW index, which large loads are spared; once with the model,
and once with a stub in its place that gives random vectors at once, which is what decoding has to keep up with beside a
GPU. Beside them, in alternating blocks: the raw forward of the same runtime on decoded pictures, and decoding alone.
busy: of each stage the share of the load in which it works; two batches at once count twice. Writes
results/timeline.json and timeline.png.
"""

import argparse
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import text

from api.decoding import looked_at
from benchmarks.common import RESULTS, embed_all, interleaved, own_home, spread, write
from ml.embedder import NetworkEmbedder

STUBBED = 4  # times as many pictures for the stub, which is quicker

STAGES = {"_claim": "claim", "_decode": "read + decode", "_forward": "forward", "_store": "store"}
COLORS = {"claim": "#8c8c8c", "read + decode": "#3b7dd8", "forward": "#d8703b", "store": "#3ba55d"}


@dataclass(frozen=True)
class Span:
    """Seconds on the clock of time.perf_counter()."""

    stage: str
    began: float
    ended: float


@dataclass(frozen=True)
class Stub:
    """An embedder that costs nothing: random unit vectors, in batches as on a GPU."""

    dim: int
    batch_size: int = 128

    def embed(self, pixels: Sequence[Any], *, background: bool = False) -> np.ndarray:
        vectors = np.random.default_rng(0).normal(size=(len(pixels), self.dim)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256, help="a multiple of 16; the stub gets four times as many")
    images = int(parser.parse_args().images)
    with own_home() as home:
        from stack.postgres import Postgres  # noqa: PLC0415 - settings are read at the first use, so the home comes first
        from umbel.base.database import engine  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415

        server = Postgres(home, settings().socket_dir)
        server.start()
        try:
            measure(images, drawn(home / "garden", images * STUBBED))
        finally:
            engine().dispose()
            server.stop()


def measure(images: int, files: list[bytes]) -> None:
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415 - as above
    from umbel.base.types import LoadedModel, Queue  # noqa: PLC0415
    from umbel.embedding.embedding import EmbeddingHandler  # noqa: PLC0415
    from umbel.jobs.leases import Leases  # noqa: PLC0415
    from worker.decoders import WorkerDecoders  # noqa: PLC0415
    from worker.models import OneModel  # noqa: PLC0415

    embedder, version_id, keys = prepared(files)
    pixels = [embedder.decode(data) for data in files[:images]]
    spans: list[Span] = []
    with WorkerDecoders(embedder.card.preprocessing, settings()) as decoder:

        def load(model: Any, count: int) -> list[Span]:
            spans.clear()
            models = OneModel(LoadedModel(version_id, model, decoder))
            leases = Leases(transaction, "bench", 60)
            done = traced(EmbeddingHandler, spans)(
                transaction=transaction, settings=settings(), leases=leases, models=models
            ).run([Queue.BULK])
            assert done == count, f"{done} of {count}"
            return list(spans)

        def loaded(name: str) -> list[Span]:
            queue(counts[name])
            return loads[name]()

        def decode() -> None:
            for coming in [decoder.decode(key) for key in keys]:
                coming.result()

        def forward() -> None:
            embed_all(embedder, pixels, background=True)

        loads = {
            "load": lambda: load(embedder, images),
            "load_stub": lambda: load(Stub(embedder.dim), len(files)),
        }
        counts = {"forward": images, "load": images, "decode": len(files), "load_stub": len(files)}
        taken = interleaved(lambda name: queue(counts[name]), forward=forward, decode=decode, **loads)
        kept = {"model": loaded("load"), "stub": loaded("load_stub")}
    draw(kept, f"{embedder.card.name} on {embedder.description}")
    about = {"batch": embedder.batch_size, "runtime": f"{embedder.runtime} {embedder.precision}"}
    write("timeline", about | answer(counts, taken, kept))


def prepared(files: list[bytes]) -> tuple[NetworkEmbedder, UUID, list[str]]:
    """The model, its version in a new gallery that these are queued in, and their blobs."""
    from umbel.base import schema  # noqa: PLC0415
    from umbel.base.blobs import blobs  # noqa: PLC0415 - as above
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415
    from umbel.gallery.upload import DEFAULT_COLLECTION, Upload, Uploader  # noqa: PLC0415
    from umbel.imports.imports import open_import  # noqa: PLC0415
    from umbel.models import partitions  # noqa: PLC0415
    from worker.models import load_active_model  # noqa: PLC0415

    schema.upgrade(settings().database)
    embedder, version_id = load_active_model(settings())
    with transaction() as session:
        job_id = open_import(session, DEFAULT_COLLECTION)
    uploader = Uploader(transaction, blobs(), looked_at)
    for data in files:
        uploader.add_image(Upload(data, job_id=job_id))
    with transaction() as session:
        partitions.drop_index(session, version_id)
        keys = list(session.scalars(text("SELECT blob_key FROM image")))
    return embedder, version_id, keys


def queue(count: int) -> None:
    """So many pictures are to be embedded, whatever there was before."""
    from umbel.base.database import autocommit, transaction  # noqa: PLC0415 - as above

    with transaction() as session:
        session.execute(text("TRUNCATE embedding"))
        session.execute(
            text("""
                UPDATE job_item SET attempts = 0, state = CASE WHEN number <= :count THEN 'pending' ELSE 'cancelled' END
                FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM job_item) numbered
                WHERE numbered.id = job_item.id
            """),
            {"count": count},
        )
    with autocommit() as connection:  # a new import has no rows of former ones to step over
        connection.execute(text("VACUUM job_item, job"))


def drawn(folder: Path, images: int) -> list[bytes]:
    """JPEGs of flowers, 320 pixels a side."""
    from garden import draw_garden  # noqa: PLC0415

    return [path.read_bytes() for path in draw_garden(folder, species=images // 16, per_species=16)]


def answer(counts: dict[str, int], taken: dict[str, list[float]], kept: dict[str, list[Span]]) -> dict[str, object]:
    """Rates, ratios and how busy each stage was. counts: pictures of each work."""
    each = {name: [seconds / counts[name] for seconds in times] for name, times in taken.items()}
    both = [forward + decode for forward, decode in zip(each["forward"], each["decode"], strict=True)]
    return {
        "pictures": counts,
        "per_second": {name: spread([1 / seconds for seconds in times]) for name, times in each.items()},
        "load_of_forward": spread(ratios(each["forward"], each["load"])),
        "load_of_forward_and_decode_in_turn": spread(ratios(both, each["load"])),
        "stub_of_decode": spread(ratios(each["decode"], each["load_stub"])),
        "busy": {name: busy(some) for name, some in kept.items()},
    }


def traced(line: type, spans: list[Span]) -> Any:
    """The line with its stages timed."""

    def timed(name: str) -> Callable[..., Any]:
        stage: Callable[..., Any] = getattr(line, name)

        @functools.wraps(stage)
        def run(self: Any, *arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return stage(self, *arguments)
            finally:
                spans.append(Span(STAGES[name], began, time.perf_counter()))

        return run

    return type("TracedLine", (line,), {name: timed(name) for name in STAGES})


def ratios(raw: list[float], ours: list[float]) -> list[float]:
    return [a / b for a, b in zip(raw, ours, strict=True)]


def busy(spans: list[Span]) -> dict[str, dict[str, float]]:
    """Of each stage: the share of the load's time in which it works, and its longest wait, in milliseconds."""
    begin, end = min(span.began for span in spans), max(span.ended for span in spans)
    found = {}
    for stage in STAGES.values():
        mine = sorted((span for span in spans if span.stage == stage), key=lambda span: span.began)
        waits = [max(0.0, after.began - before.ended) for before, after in pairwise(mine)]
        found[stage] = {
            "share": round(sum(span.ended - span.began for span in mine) / (end - begin), 3),
            "mean_milliseconds": round(sum(span.ended - span.began for span in mine) / len(mine) * 1000, 1),
            "longest_wait_milliseconds": round(max(waits, default=0.0) * 1000, 1),
        }
    return found


def draw(loads: dict[str, list[Span]], title: str) -> None:
    """A queue a stage, a bar a batch."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, panels = plt.subplots(len(loads), 1, figsize=(11, 2.2 * len(loads)), layout="constrained")
    names = list(COLORS)
    for panel, (name, spans) in zip(panels, loads.items(), strict=True):
        begin = min(span.began for span in spans)
        for row, stage in enumerate(names):
            bars = [(span.began - begin, span.ended - span.began) for span in spans if span.stage == stage]
            panel.broken_barh(bars, (row - 0.38, 0.76), facecolors=COLORS[stage], edgecolors="white", linewidth=0.5)
        panel.set_yticks(range(len(names)), names)
        panel.invert_yaxis()
        panel.set_title(f"with {'the model: ' + title if name == 'model' else 'a stub model'}", loc="left", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("seconds; a bar is a batch")
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "timeline.png", dpi=110)


if __name__ == "__main__":
    main()

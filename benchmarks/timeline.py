"""Where does the time of a bulk load go? Every stage's spans in one worker's line, drawn one lane a stage.

Run `python -m benchmarks.timeline [--pictures 1024]`: queued items are claimed, read, decoded, embedded and stored by
the line that workers run, on a real Postgres; once with the model, and once with a stub in its place that gives
random vectors at once, which is what decoding has to keep up with beside a GPU. Beside them, in alternating blocks: the
raw forward of the same runtime on decoded pictures, and decoding alone. Writes results/timeline.json and timeline.png.
"""

import argparse
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, interleaved, own_home, spread, write

STAGES = {"_claim_fresh": "claim", "_decode": "read + decode", "_forward": "forward", "_store": "store"}
COLOURS = {"claim": "#8c8c8c", "read + decode": "#3b7dd8", "forward": "#d8703b", "store": "#3ba55d"}


@dataclass(frozen=True)
class Span:
    """Seconds on the clock of time.perf_counter()."""

    stage: str
    began: float
    ended: float


@dataclass
class Stub:
    """An embedder that costs nothing: random unit vectors."""

    dim: int
    batch_size: int

    def embed(self, pixels: Sequence[Any], *, background: bool = False) -> np.ndarray:
        vectors = np.random.default_rng(0).normal(size=(len(pixels), self.dim)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    pictures = wanted_pictures()
    with own_home() as home:
        from sqlalchemy import text  # noqa: PLC0415 - settings are read at the first use, so the home comes first

        from core.blobs import blobs  # noqa: PLC0415
        from core.settings import settings  # noqa: PLC0415
        from core.types import Lane, LoadedModel  # noqa: PLC0415
        from db import schema  # noqa: PLC0415
        from db.session import engine, transaction  # noqa: PLC0415
        from services.embedding import EmbeddingLine  # noqa: PLC0415
        from services.ingest import Upload, add_image  # noqa: PLC0415
        from stack.postgres import Postgres  # noqa: PLC0415
        from worker.decoders import DecoderPool  # noqa: PLC0415
        from worker.models import OneModel, load_active_model  # noqa: PLC0415

        server = Postgres(home, settings().socket_dir)
        server.start()
        try:
            schema.upgrade(settings().database)
            embedder, version_id = load_active_model(settings())
            files = drawn(home / "garden", pictures)
            for data in files:
                add_image(transaction, blobs(), settings(), Upload(data))
            pixels = [embedder.decode(data) for data in files]
            with engine().begin() as connection:
                keys = list(connection.scalars(text("SELECT blob_key FROM image")))
            spans: list[Span] = []
            with DecoderPool(embedder.card.preprocessing, settings()) as decoder:
                stub = Stub(embedder.dim, embedder.batch_size)

                def line(model: Any) -> EmbeddingLine:
                    loaded = LoadedModel(version_id, model, decoder)
                    return traced(EmbeddingLine, spans)(transaction, OneModel(loaded), "bench", settings())

                def load(model: Any) -> list[Span]:
                    with engine().begin() as connection:
                        connection.execute(text("DELETE FROM embedding"))
                        connection.execute(text("UPDATE job_item SET state = 'pending', attempts = 0"))
                    spans.clear()
                    done = line(model).embed_items([Lane.SINGLE])
                    assert done == len(files), f"{done} of {len(files)}"
                    return list(spans)

                def decode() -> None:
                    for coming in [decoder.decode(key) for key in keys]:
                        coming.result()

                def forward() -> None:
                    for at in range(0, len(pixels), embedder.batch_size):
                        embedder.embed(pixels[at : at + embedder.batch_size])

                taken = interleaved(
                    forward=forward, load=lambda: load(embedder), decode=decode, load_stub=lambda: load(stub)
                )
                kept = {"model": load(embedder), "stub": load(stub)}
        finally:
            engine().dispose()
            server.stop()
    draw(kept, f"{embedder.card.name} on {embedder.description}")
    about = {"batch": embedder.batch_size, "runtime": f"{embedder.runtime} {embedder.precision}"}
    write("timeline", about | answer(len(files), taken, kept))


def wanted_pictures() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1024, help="a multiple of 16")
    return int(parser.parse_args().pictures)


def drawn(folder: Path, pictures: int) -> list[bytes]:
    """JPEGs of flowers, 320 pixels a side."""
    from ml.garden import draw_garden  # noqa: PLC0415

    return [path.read_bytes() for path in draw_garden(folder, species=pictures // 16, per_species=16)]


def answer(pictures: int, taken: dict[str, list[float]], kept: dict[str, list[Span]]) -> dict[str, object]:
    """Rates, ratios and how busy each stage was."""
    both = [forward + decode for forward, decode in zip(taken["forward"], taken["decode"], strict=True)]
    return {
        "pictures": pictures,
        "per_second": {name: spread([pictures / each for each in times]) for name, times in taken.items()},
        "load_of_forward": spread(ratios(taken["forward"], taken["load"])),
        "load_of_forward_and_decode_in_turn": spread(ratios(both, taken["load"])),
        "stub_of_decode": spread(ratios(taken["decode"], taken["load_stub"])),
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
        waits = [after.began - before.ended for before, after in pairwise(mine)]
        found[stage] = {
            "share": round(sum(span.ended - span.began for span in mine) / (end - begin), 3),
            "mean_milliseconds": round(sum(span.ended - span.began for span in mine) / len(mine) * 1000, 1),
            "longest_wait_milliseconds": round(max(waits, default=0.0) * 1000, 1),
        }
    return found


def draw(loads: dict[str, list[Span]], title: str) -> None:
    """A lane a stage, a bar a batch."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, panels = plt.subplots(len(loads), 1, figsize=(11, 2.2 * len(loads)), layout="constrained")
    names = list(COLOURS)
    for panel, (name, spans) in zip(panels, loads.items(), strict=True):
        begin = min(span.began for span in spans)
        for row, stage in enumerate(names):
            bars = [(span.began - begin, span.ended - span.began) for span in spans if span.stage == stage]
            panel.broken_barh(bars, (row - 0.38, 0.76), facecolors=COLOURS[stage], edgecolors="white", linewidth=0.5)
        panel.set_yticks(range(len(names)), names)
        panel.invert_yaxis()
        panel.set_title(f"with {'the model: ' + title if name == 'model' else 'a stub model'}", loc="left", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("seconds; a bar is a batch")
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "timeline.png", dpi=110)


if __name__ == "__main__":
    main()

"""What does decoding a picture cost, by library and by how much of a JPEG is decoded, and do the vectors stay the same?

Run `python -m benchmarks.decoding [--folder JPEGS] [--pictures 800]`; without a folder, flowers are drawn. CPU
milliseconds of one picture in this thread, from bytes to the network's input, by Pillow with and without draft, and by
simplejpeg if it is installed (it is not needed otherwise), which can also scale by eighths. The agreement of vectors is
that with a full decode: the median and least cosine, and how many of the ten nearest pictures are the same.
"""

import argparse
import importlib
import io
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import BLOCKS, spread, write
from garden import draw_garden
from ml.preprocess import Preprocessing
from ml.runtime import load_embedder
from umbel.base.settings import Settings
from umbel.base.types import Pixels, Vectors
from umbel.decoding.images import quick_look

SIZES = {"500x375": (500, 375), "12_megapixels": (4000, 3000)}
TIMED = 8  # pictures of each size
NEAREST = 10

Decode = Callable[[bytes], Pixels]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--images", type=int, default=800)
    given = parser.parse_args()
    embedder = load_embedder(Settings(log_level="WARNING"))
    ways = decoders(embedder.card.preprocessing, Settings())
    with jpegs(given.folder, given.images) as files:
        vectors = {
            name: np.concatenate(
                [embedder.embed([decode(data) for data in files[at : at + 64]]) for at in range(0, len(files), 64)]
            )
            for name, decode in ways.items()
        }
        scaled = {name: [resized(data, size) for data in files[:TIMED]] for name, size in SIZES.items()}
    write(
        "decoding",
        {
            "pictures": len(files),
            "model": embedder.card.name,
            "runtime": f"{embedder.runtime} {embedder.precision}",
            "cpu_milliseconds": {name: timed(ways, images) for name, images in scaled.items()},
            "agreement": {name: agreement(vectors["full"], some) for name, some in vectors.items()},
        },
    )


def decoders(preprocessing: Preprocessing, limits: Settings) -> dict[str, Decode]:
    """Ways to the network's input; draft N: JPEGs are scaled while decoding, to no less than N × the input."""

    def pillow(draft: int) -> Decode:
        drafted = preprocessing.model_copy(update={"draft": draft})
        return lambda data: drafted.decode(data, limits)

    ways = {"full": pillow(0), "draft_2": pillow(2), "draft_1": pillow(1)}
    if find_spec("simplejpeg"):
        library = importlib.import_module("simplejpeg")

        def eighths(draft: int) -> Decode:
            side = preprocessing.size * draft

            def decode(data: bytes) -> Pixels:
                quick_look(data, limits)  # the same checks; EXIF's orientation is left aside here
                pixels = library.decode_jpeg(data, "RGB", min_height=side, min_width=side)
                return preprocessing.fit(Image.fromarray(pixels))

            return decode

        ways |= {"simplejpeg_full": eighths(0), "simplejpeg_2": eighths(2), "simplejpeg_1": eighths(1)}
    return ways


def timed(ways: dict[str, Decode], images: list[bytes]) -> dict[str, dict[str, object]]:
    """CPU milliseconds of one picture, and the ratio of a full decode by Pillow to it, block by block."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(BLOCKS):
        for name, decode in ways.items():
            began = time.thread_time()
            for data in images:
                decode(data)
            taken[name].append((time.thread_time() - began) / len(images) * 1000)
    return {
        name: {
            "milliseconds": spread(times),
            "of_full": round(
                statistics.median(full / each for full, each in zip(taken["full"], times, strict=True)), 2
            ),
        }
        for name, times in taken.items()
    }


def agreement(full: Vectors, some: Vectors) -> dict[str, float]:
    """Of vectors (N, dim) with those of a full decode, and of whom each finds nearest among its own kind."""
    cosines = (full * some).sum(1)
    kept = [len(set(a) & set(b)) / NEAREST for a, b in zip(nearest(full), nearest(some), strict=True)]
    return {
        "median_cosine": round(float(np.median(cosines)), 5),
        "least_cosine": round(float(cosines.min()), 5),
        "same_of_ten_nearest": round(float(np.mean(kept)), 4),
    }


def nearest(vectors: Vectors) -> np.ndarray:
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    return np.argpartition(-similarity, NEAREST, axis=1)[:, :NEAREST]


@contextmanager
def jpegs(folder: Path | None, count: int) -> Iterator[list[bytes]]:
    """So many JPEGs of a folder, picked at random but always the same, or drawn flowers."""
    with tempfile.TemporaryDirectory() as drawn:
        paths = (
            sorted(folder.rglob("*.jp*g"))
            if folder
            else list(draw_garden(Path(drawn), species=count // 8, per_species=8))
        )
        random.Random(0).shuffle(paths)
        yield [path.read_bytes() for path in paths[:count]]


def resized(data: bytes, size: tuple[int, int]) -> bytes:
    """The picture as a JPEG of this size."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
    return out.getvalue()


if __name__ == "__main__":
    main()

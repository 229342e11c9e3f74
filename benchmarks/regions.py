"""Does a crop find the photograph that it was cut from, and do vectors of the photographs' tiles help it?

Of each photograph the whole is embedded and, in the rows with tiles, overlapping tiles of it. Of some a crop at a
random place is searched by, as `POST /v1/search` with `box` does it; a photograph is as near as the nearest of its
vectors. Every vector is compared, so this tells nothing of what an index misses.
"""

import argparse
import math
import random
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from benchmarks.common import interleaved, own_home, spread, write
from umbel.base.types import Box, Pixels, Vectors
from umbel.gallery import tiles

if TYPE_CHECKING:
    from ml.embedder import NetworkEmbedder

Distances = NDArray[np.float32]

WHOLE = Box(0, 0, 1, 1)
AREAS = (0.25, 0.1)  # of the photograph, that a crop has
LEAST_SIDE = 200  # pixels of a photograph that is looked at: a tenth of a smaller one shows too little
GALLERIES = (300, 600)  # photographs, beside all
TIMED = 16  # photographs of a timed block
ROW_BYTES = 72  # of a stored vector beside its numbers of two bytes, see `search_images`


FIRST = "whole images"
LAYOUTS: dict[str, list[Box]] = {
    FIRST: [],
    "with 4 tiles of 60 % of the sides": list(tiles.LAYOUTS[4].values()),
    "with 9 tiles of 50 % of the sides": list(tiles.LAYOUTS[9].values()),
    "with 9 tiles of 40 % of the sides": tiles.grid(3, 0.4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="folders of photographs, at any depth")
    parser.add_argument("--images", type=int, default=2_000, help="of all folders together, drawn at random")
    parser.add_argument("--queries", type=int, default=300)
    options = parser.parse_args()
    with own_home():
        write("regions", _measure(options.photos, options.images, options.queries))


def _measure(folders: Sequence[Path], images: int, queries: int) -> dict[str, object]:
    from ml.runtime import load_embedder  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415

    embedder = load_embedder(settings())
    chosen = _large(folders)
    random.Random(1).shuffle(chosen)
    data = [path.read_bytes() for path in chosen[:images]]
    found = _recall(embedder, data, min(queries, len(data)))
    cost = _cost(embedder, data[:TIMED])
    return {"model": embedder.card.name, "crops_that_find_their_photograph": found, "cost_of_a_photograph": cost}


def _large(folders: Sequence[Path]) -> list[Path]:
    """The photographs of these folders that are large enough, by name."""
    files = []
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        with suppress(UnidentifiedImageError), Image.open(path) as picture:
            if min(picture.size) >= LEAST_SIDE:
                files.append(path)
    return files


def _recall(
    embedder: "NetworkEmbedder", photos: Sequence[bytes], queries: int
) -> dict[str, dict[str, dict[str, float]]]:
    """For each gallery and layout: the share of crops whose photograph comes first, and among the first ten."""
    every = [WHOLE, *(box for boxes in LAYOUTS.values() for box in boxes)]
    stored = _embedded(embedder, _cut(embedder, photos, every)).reshape(len(photos), len(every), -1)
    answers = {}
    for area in AREAS:
        generator, side = random.Random(2), math.sqrt(area)
        places = [[generator.uniform(0, 1 - side) for _ in "xy"] for _ in range(queries)]
        pixels = [embedder.decode(data, Box(x, y, side, side)) for data, (x, y) in zip(photos, places, strict=False)]
        distances = 1 - np.einsum("qd,npd->qnp", _embedded(embedder, pixels), stored)
        for size in sorted({*(each for each in GALLERIES if queries <= each < len(photos)), len(photos)}):
            among = f"{queries} crops of {area:.0%} of the area, among {size:,}"
            answers[among] = {name: _found(distances[:, :size], every, boxes) for name, boxes in LAYOUTS.items()}
    return answers


def _found(distances: Distances, every: Sequence[Box], boxes: Sequence[Box]) -> dict[str, float]:
    """R@1 and R@10 by the distances (query, photograph, box); each query is of the photograph of its number."""
    nearest = distances[:, :, [every.index(box) for box in (WHOLE, *boxes)]].min(2)
    own = nearest[np.arange(len(nearest)), np.arange(len(nearest))]
    before = (nearest < own[:, None]).sum(1)
    return {f"R@{k}": round(float((before < k).mean()), 3) for k in (1, 10)}


def _cost(embedder: "NetworkEmbedder", photos: Sequence[bytes]) -> dict[str, dict[str, object]]:
    """What a photograph takes, decoded and embedded by one process; and its bytes in the table of embeddings."""

    def embed(boxes: Sequence[Box]) -> None:
        _embedded(embedder, _cut(embedder, photos, [WHOLE, *boxes]))

    taken = interleaved(**{name: partial(embed, boxes) for name, boxes in LAYOUTS.items()})
    return {
        name: {
            "vectors": 1 + len(LAYOUTS[name]),
            "milliseconds": spread([each / len(photos) * 1000 for each in times]),
            "times_the_first": spread([each / first for each, first in zip(times, taken[FIRST], strict=True)]),
            "kilobytes": round((1 + len(LAYOUTS[name])) * (2 * embedder.dim + ROW_BYTES) / 1000, 1),
        }
        for name, times in taken.items()
    }


def _cut(embedder: "NetworkEmbedder", photos: Sequence[bytes], boxes: Sequence[Box]) -> list[Pixels]:
    """The same parts of each photograph, which is decoded once, one photograph after the other."""
    from umbel.base.settings import settings  # noqa: PLC0415

    cut = embedder.card.preprocessing.decode_parts
    return [part for data in photos for part in cut(data, settings(), boxes)]


def _embedded(embedder: "NetworkEmbedder", pixels: Sequence[Pixels]) -> Vectors:
    step = embedder.batch_size
    return np.concatenate([embedder.embed(pixels[at : at + step]) for at in range(0, len(pixels), step)])


if __name__ == "__main__":
    main()

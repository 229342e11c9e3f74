"""Does a crop find the photograph that it was cut from, and would vectors of the photographs' own parts help it?

Of each photograph the whole is embedded and, in the rows with parts, overlapping parts of it. Of some a crop of a
quarter of the area, at a random place, is searched by, as `POST /v1/search` with `box` does it; a photograph is as near
as the nearest of its vectors. Every vector is compared, so this tells nothing of what an index misses.
"""

import argparse
import math
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.common import interleaved, own_home, spread, write
from umbel.base.types import Box, Pixels, Vectors
from umbel.decoding.images import corners, decode

if TYPE_CHECKING:
    from ml.embedder import NetworkEmbedder

WHOLE = Box(0, 0, 1, 1)
CROP = 0.5  # of each side
TIMED = 16  # photographs of a timed block
ROW_BYTES = 72  # of a stored vector beside its numbers of two bytes, see `search_images`


def grid(count: int, side: float) -> list[Box]:
    """count × count overlapping parts of these sides, evenly spread."""
    places = [place * (1 - side) / (count - 1) for place in range(count)]
    return [Box(x, y, side, side) for y in places for x in places]


FIRST = "whole images"
LAYOUTS: dict[str, list[Box]] = {
    FIRST: [],
    "with 4 parts of 60 % of the sides": grid(2, 0.6),
    "with 9 parts of 50 % of the sides": grid(3, 0.5),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="folders of class folders, or of these")
    parser.add_argument("--images", type=int, default=400, help="of each folder, drawn at random")
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args()
    with own_home():
        write("regions", _measure(options.photos, options.images, options.queries))


def _measure(folders: Sequence[Path], images: int, queries: int) -> dict[str, object]:
    from ml.data.dataset import class_files  # noqa: PLC0415
    from ml.runtime import load_embedder  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415

    embedder = load_embedder(settings())
    found: dict[str, object] = {}
    for folder in folders:
        files = [path for path, _ in class_files(folder).files]
        chosen = random.Random(1).sample(files, min(images, len(files)))
        data = [path.read_bytes() for path in chosen]
        asked = min(queries, len(data))
        found[f"{folder.name}, {asked} crops among {len(data)}"] = _recall(embedder, data, asked)
    cost = _cost(embedder, data[:TIMED])
    return {"model": embedder.card.name, "crops_that_find_their_photograph": found, "cost_of_a_photograph": cost}


def _recall(embedder: "NetworkEmbedder", photos: Sequence[bytes], queries: int) -> dict[str, dict[str, float]]:
    """For each layout: the share of crops whose photograph comes first, and among the first ten."""
    generator = random.Random(2)
    crops = [Box(generator.uniform(0, 1 - CROP), generator.uniform(0, 1 - CROP), CROP, CROP) for _ in range(queries)]
    pixels = [embedder.decode(data, box) for data, box in zip(photos, crops, strict=False)]
    asked = _embedded(embedder, pixels)
    every = [WHOLE, *(part for parts in LAYOUTS.values() for part in parts)]
    stored = _embedded(embedder, _cut(embedder, photos, every)).reshape(len(photos), len(every), -1)
    distances = 1 - np.einsum("qd,npd->qnp", asked, stored)
    answers = {}
    for name, parts in LAYOUTS.items():
        nearest = distances[:, :, [every.index(part) for part in (WHOLE, *parts)]].min(2)
        own = nearest[np.arange(queries), np.arange(queries)]
        before = (nearest < own[:, None]).sum(1)
        answers[name] = {f"R@{k}": round(float((before < k).mean()), 3) for k in (1, 10)}
    return answers


def _cost(embedder: "NetworkEmbedder", photos: Sequence[bytes]) -> dict[str, dict[str, object]]:
    """What a photograph takes, decoded and embedded by one process; and its bytes in the table of embeddings."""

    def embed(parts: Sequence[Box]) -> None:
        _embedded(embedder, _cut(embedder, photos, [WHOLE, *parts]))

    taken = interleaved(**{name: partial(embed, parts) for name, parts in LAYOUTS.items()})
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

    seen = embedder.card.preprocessing
    side = math.ceil(seen.size * seen.draft / min(box.width for box in boxes))
    pictures = (decode(data, settings(), side=side, color=seen.color) for data in photos)
    return [seen.fit(picture.crop(corners(box, picture.size))) for picture in pictures for box in boxes]


def _embedded(embedder: "NetworkEmbedder", pixels: Sequence[Pixels]) -> Vectors:
    step = embedder.batch_size
    return np.concatenate([embedder.embed(pixels[at : at + step]) for at in range(0, len(pixels), step)])


if __name__ == "__main__":
    main()

"""What comparing finds: changed copies among other pictures, and labels that were set wrong on purpose."""

import io
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from ml.data.dataset import class_files
from ml.data.duplicates import quick_pixel_similarities
from umbel.base.settings import Settings
from umbel.base.types import Embedder, Vectors
from umbel.insights.comparison import COPY_CANDIDATES, NEIGHBORS
from umbel.insights.duplicate_groups import COPY_DISTANCE, MIN_PIXEL_SIMILARITY
from umbel.insights.label_errors import label_error_probability
from umbel.insights.signature import signature_of
from umbel.models.calibration import Calibration

SAMPLE = 200  # pictures that are changed
FLIPPED = 0.05  # of the labels

Change = Callable[[Image.Image], Image.Image]


def _cropped(share: float) -> Change:
    """`share` off each side length, from the middle."""

    def crop(image: Image.Image) -> Image.Image:
        across, down = round(image.width * share / 2), round(image.height * share / 2)
        return image.crop((across, down, image.width - across, image.height - down))

    return crop


def _resized(share: float) -> Change:
    return lambda image: image.resize((round(image.width * share), round(image.height * share)))


CHANGES: dict[str, tuple[Change, int]] = {  # with the quality of the JPEG they are saved as
    "JPEG 75": (lambda image: image, 75),
    "JPEG 40": (lambda image: image, 40),
    "half the size": (_resized(0.5), 90),
    "a quarter of the size": (_resized(0.25), 90),
    "5 % cropped": (_cropped(0.05), 90),
    "10 % cropped": (_cropped(0.1), 90),
    "20 % cropped": (_cropped(0.2), 90),
    "brightness × 1.2": (lambda image: ImageEnhance.Brightness(image).enhance(1.2), 90),
    "brightness × 0.8": (lambda image: ImageEnhance.Brightness(image).enhance(0.8), 90),
    "grey": (lambda image: ImageOps.grayscale(image).convert("RGB"), 90),
    "mirrored": (ImageOps.mirror, 90),
    "turned by 3°": (lambda image: image.rotate(3), 90),
}


def measure_copies(embedder: Embedder, folder: Path, vectors: Vectors) -> dict[str, object]:
    """Of each change: how many copies a comparison with all pictures would link to their original."""
    files = [path for path, _ in class_files(folder).files]
    thumbs = np.stack([signature_of(path.read_bytes(), Settings()).pixels for path in files])
    chosen = np.array(sorted(random.Random(1).sample(range(len(files)), min(SAMPLE, len(files)))))
    changes = {}
    for name, (change, quality) in CHANGES.items():
        copies = [_saved(change(Image.open(files[at]).convert("RGB")), quality) for at in chosen]
        changed = _embedded(embedder, copies)
        distances = 1 - changed @ vectors.T
        own = distances[np.arange(len(chosen)), chosen]
        proposed = ((distances < own[:, None]).sum(1) < COPY_CANDIDATES) & (own <= COPY_DISTANCE)
        seen = np.stack([signature_of(data, Settings()).pixels for data in copies])
        pairs = np.stack([np.arange(len(chosen)), len(chosen) + np.arange(len(chosen))], 1)
        agreed = quick_pixel_similarities(np.concatenate([seen, thumbs[chosen]]), pairs) >= MIN_PIXEL_SIMILARITY
        near = {f"within {limit}": _share(own <= limit) for limit in (0.02, 0.05, 0.1)}
        changes[name] = {"found": _share(proposed & agreed), "proposed": _share(proposed), **near}
    return {"pictures": len(files), "changed": len(chosen), "copies": changes, "originals": _linked(vectors, thumbs)}


def measure_flips(vectors: Vectors, labels: Sequence[str], calibration: Calibration | None) -> dict[str, object]:
    """Labels set wrong at random: how far up the list they come."""
    generator = np.random.default_rng(1)
    flipped = np.zeros(len(labels), bool)
    flipped[generator.choice(len(labels), round(FLIPPED * len(labels)), replace=False)] = True
    names = sorted(set(labels))
    given = [
        generator.choice([other for other in names if other != label]) if flip else label
        for label, flip in zip(labels, flipped, strict=True)
    ]
    distances = 1 - vectors @ vectors.T
    np.fill_diagonal(distances, np.inf)
    doubts = np.zeros(len(labels))
    for row, near in enumerate(np.argsort(distances, 1)[:, :NEIGHBORS]):
        found = label_error_probability(
            given[row], distances[row, near].clip(0).tolist(), [given[at] for at in near], calibration
        )
        doubts[row] = found.label_error_probability if found else 0
    top = np.argsort(-doubts, kind="stable")[: flipped.sum()]
    listed = doubts >= 0.5
    return {
        "labels": len(labels),
        "flipped": int(flipped.sum()),
        "of the top that many, flipped": _share(flipped[top]),
        "listed by default": int(listed.sum()),
        "of the listed, flipped": _share(flipped[listed]),
        "of the flipped, listed": _share(listed[flipped]),
    }


def _linked(vectors: Vectors, thumbs: np.ndarray) -> dict[str, int]:
    """Pairs of the pictures themselves, which are different files: by distance alone, and with the pixels."""
    distances = 1 - vectors @ vectors.T
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, 1)[:, :COPY_CANDIDATES]
    rows = np.repeat(np.arange(len(vectors)), COPY_CANDIDATES)
    pairs = np.unique(np.sort(np.stack([rows, nearest.reshape(-1)], 1), axis=1), axis=0)
    apart = distances[pairs[:, 0], pairs[:, 1]]
    counts = {f"pairs within {limit}": int((apart <= limit).sum()) for limit in (0.02, 0.05, 0.1)}
    pairs = pairs[apart <= COPY_DISTANCE]
    return {
        **counts,
        "pairs looked at": len(pairs),
        "pairs found": int((quick_pixel_similarities(thumbs, pairs) >= MIN_PIXEL_SIMILARITY).sum()),
    }


def _embedded(embedder: Embedder, copies: Sequence[bytes]) -> Vectors:
    step = embedder.batch_size
    portions = [copies[at : at + step] for at in range(0, len(copies), step)]
    return np.concatenate([embedder.embed([embedder.decode(data) for data in some]) for some in portions])


def _saved(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _share(hits: np.ndarray) -> float:
    return round(float(hits.mean()), 3) if len(hits) else 0.0

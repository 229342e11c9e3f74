"""What a network is worth on pictures it was not trained on: classes it knows, and classes it never saw."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from core.types import Pixels, Vectors
from ml.datasets import Dataset, Indices
from ml.evaluation.metrics import Metrics, measure
from ml.network import EmbeddingNetwork
from ml.preprocess import Preprocessing

BATCH = 64


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """Labelled pictures, decoded for one preprocessing: pixels (N, size, size, 3) uint8, labels (N,)."""

    name: str
    pixels: NDArray[np.uint8]
    labels: Indices


def prepare(pixels: Sequence[Pixels], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Decoded pictures of any size → (N, size, size, 3) uint8, by the same function as the index and queries."""
    return np.stack([preprocessing.fit(Image.fromarray(picture)) for picture in pixels])


def validation_sets(
    dataset: Dataset, known: Indices, unseen: Indices, preprocessing: Preprocessing
) -> list[ValidationSet]:
    """One set a folder of the pictures held back, and one of the classes held out."""
    parts = [
        (f"{name}, held-out pictures", known[dataset.folders[known] == index])
        for index, name in enumerate(dataset.folder_names)
    ]
    parts.append(("held-out classes", unseen))
    return [
        ValidationSet(name, prepare([dataset.pixels[index] for index in part], preprocessing), dataset.labels[part])
        for name, part in parts
        if len(part)
    ]


def run(
    forward: Callable[[Tensor], Tensor],
    pixels: NDArray[np.uint8],
    preprocessing: Preprocessing,
    device: torch.device,
    arithmetic: Callable[[], AbstractContextManager[object]],
) -> Tensor:
    """Feed pictures through `forward` in batches, without gradients: (N, …) float32 on the CPU."""
    results = []
    with torch.no_grad(), arithmetic():
        for start in range(0, len(pixels), BATCH):
            batch = preprocessing.normalise(pixels[start : start + BATCH]).to(device)
            results.append(forward(batch).float().cpu())
    return torch.cat(results)


def judge(
    network: EmbeddingNetwork,
    sets: Sequence[ValidationSet],
    preprocessing: Preprocessing,
    device: torch.device,
    arithmetic: Callable[[], AbstractContextManager[object]],
    *,
    plain: bool = False,
) -> dict[str, Metrics]:
    """The metrics of each set. plain: of the pooled features before the neck instead of the embeddings."""

    def features(pictures: Tensor) -> Tensor:
        return F.normalize(network.pooled(pictures)) if plain else network(pictures)

    found: dict[str, Metrics] = {}
    for one in sets:
        vectors: Vectors = run(features, one.pixels, preprocessing, device, arithmetic).numpy()
        found[one.name] = measure(vectors, one.labels)
    return found


def score(metrics: dict[str, Metrics]) -> float:
    """One number to choose by: the mean over the sets of R@1 and MAP@R, so that no set can be given up for another.

    NaN without a set.
    """
    if not metrics:
        return math.nan
    return float(np.mean([(one.r_at_1 + one.map_at_r) / 2 for one in metrics.values()]))

"""What a network is worth on pictures it was not trained on: classes it knows, and classes it never saw."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ml.data.dataset import Dataset, Indices
from ml.devices import has_native_bf16
from ml.evaluation.metrics import Metrics, measure
from ml.network import EmbeddingNetwork
from ml.preprocess import Preprocessing
from umbel.base.pipeline import ahead

BATCH = 64


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """Labelled pictures that are only judged on. positions: (N,) in the dataset; labels: (N,)."""

    name: str
    positions: Indices
    labels: Indices


def validation_sets(dataset: Dataset, known: Indices, unseen: Indices) -> list[ValidationSet]:
    """One set a folder of the pictures held back, and one of the classes held out."""
    parts = [
        (f"{name}, held-out pictures", known[dataset.folders[known] == index])
        for index, name in enumerate(dataset.folder_names)
    ]
    parts.append(("held-out classes", unseen))
    return [ValidationSet(name, part, dataset.labels[part]) for name, part in parts if len(part)]


def precision(device: torch.device) -> AbstractContextManager[object]:
    """bf16 where the hardware has it."""
    return torch.autocast(device.type, torch.bfloat16) if has_native_bf16(device) else nullcontext()


def pooled_features(
    network: EmbeddingNetwork,
    dataset: Dataset,
    positions: Indices,
    preprocessing: Preprocessing,
    done: Callable[[int], None] = lambda pictures: None,
) -> Tensor:
    """(N, features) float32 on the CPU: what the backbone says of the pictures at these positions, without variation.

    Pictures are fitted by the same function as the index's and queries', a batch ahead of the network.
    done: told how many pictures each batch brought.
    """

    def batches() -> Iterator[Tensor]:
        for start in range(0, len(positions), BATCH):
            pixels = [dataset.pixels[index] for index in positions[start : start + BATCH]]
            fitted = [preprocessing.fit(Image.fromarray(one)) for one in pixels]
            yield preprocessing.normalise(np.stack(fitted))

    device = next(network.parameters()).device
    results = [torch.empty(0, network.features)]
    with torch.no_grad(), precision(device):
        for batch in ahead(batches()):
            results.append(network.pooled(batch.to(device)).float().cpu())
            done(len(batch))
    return torch.cat(results)


def embeddings(network: EmbeddingNetwork, pooled: Tensor, device: torch.device) -> Tensor:
    """(N, dim) float32 of unit length on the CPU: what the network's neck makes of pooled features."""
    with torch.no_grad():
        return network.embed(pooled.to(device)).cpu()


def score(metrics: dict[str, Metrics]) -> float:
    """One number to choose by: the mean over the sets of R@1 and MAP@R, so that no set can be given up for another.

    NaN without a set.
    """
    if not metrics:
        return math.nan
    return float(np.mean([(one.r_at_1 + one.map_at_r) / 2 for one in metrics.values()]))


def judge(sets: Sequence[ValidationSet], vectors: Sequence[Tensor]) -> dict[str, Metrics]:
    """The metrics of each set from its embeddings."""
    return {one.name: measure(found.numpy(), one.labels) for one, found in zip(sets, vectors, strict=True)}

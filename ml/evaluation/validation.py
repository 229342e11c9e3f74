"""What a network is worth on pictures it was not trained on: classes it knows, and classes it never saw."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import torch
from torch import Tensor

from ml.data.dataset import Dataset, Indices
from ml.devices import training_dtype
from ml.evaluation.metrics import Metrics, measure
from ml.evaluation.protocol import EVERY_OTHER, Protocol
from ml.network import EmbeddingNetwork
from umbel.base.pipeline import ahead

BATCH = 64


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """Queries and the gallery that they are searched in: all that is known of their folder, as the product is used.

    positions: (N,) in the dataset, of both; labels: (N,); protocol: which ask, and that none finds its own duplicates;
    chooses: whether epochs, blends and the calibration go by it.
    """

    name: str
    positions: Indices
    labels: Indices
    protocol: Protocol = EVERY_OTHER
    chooses: bool = True


def validation_sets(dataset: Dataset, known: Indices, unseen: Indices) -> list[ValidationSet]:
    """One set a folder whose queries are the pictures held back, and one whose queries are of the classes held out.

    The gallery is everything in the queries' folders, training pictures too. Other folders stay out of it: under
    another name they may hold the same classes. Each folder that is only judged on is one more set, leave-one-out,
    which nothing is chosen by.
    """
    parts = [
        (f"{name}, held-out pictures", known[dataset.folders[known] == index])
        for index, name in enumerate(dataset.folder_names)
    ]
    parts.append(("held-out classes", unseen))
    sets = [_against_its_folders(dataset, name, queries) for name, queries in parts if len(queries)]
    for index in sorted(dataset.aside):
        queries = np.flatnonzero(dataset.folders == index)
        taken = [one.name for one in sets]
        name = next(name for name in _numbered(dataset.folder_names[index]) if name not in taken)
        sets.append(replace(_against_its_folders(dataset, name, queries), chooses=False))
    return sets


def _numbered(name: str) -> Iterator[str]:
    """The name, and then the name with a number."""
    yield name
    yield from (f"{name} ({number})" for number in count(2))


def _against_its_folders(dataset: Dataset, name: str, queries: Indices) -> ValidationSet:
    positions = np.flatnonzero(np.isin(dataset.folders, dataset.folders[queries]))
    protocol = Protocol(asks=np.isin(positions, queries), groups=dataset.groups[positions])
    return ValidationSet(name, positions, dataset.labels[positions], protocol)


def precision(device: torch.device) -> AbstractContextManager[object]:
    """bf16 where the hardware has it, fp16 on GPUs that have that alone."""
    dtype = training_dtype(device)
    return torch.autocast(device.type, dtype) if dtype else nullcontext()


def pooled_features(
    network: EmbeddingNetwork,
    dataset: Dataset,
    positions: Indices,
    done: Callable[[int], None] = lambda pictures: None,
) -> Tensor:
    """(N, features) float32 on the CPU: what the backbone says of the pictures at these positions, without variation.

    Their pixels are those that the service would see, made ready a batch ahead of the network.
    done: told how many pictures each batch brought.
    """

    def batches() -> Iterator[Tensor]:
        for start in range(0, len(positions), BATCH):
            served = [dataset.served[index] for index in positions[start : start + BATCH]]
            yield dataset.preprocessing.normalise(np.stack(served))

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


def score(sets: Sequence[ValidationSet], metrics: dict[str, Metrics]) -> float:
    """One number to choose by: the mean over the sets of R@1 and MAP@R, so that no set can be given up for another.

    Only of those that choose. One in which nothing can be found says nothing. NaN without any other.
    """
    chosen = [metrics[one.name] for one in sets if one.chooses]
    scores = [(one.r_at_1 + one.map_at_r) / 2 for one in chosen]
    known = [one for one in scores if not math.isnan(one)]
    return float(np.mean(known)) if known else math.nan


def judge(sets: Sequence[ValidationSet], vectors: Sequence[Tensor]) -> dict[str, Metrics]:
    """The metrics of each set from its embeddings."""
    judged = zip(sets, vectors, strict=True)
    return {one.name: measure(found.numpy(), one.labels, one.protocol) for one, found in judged}


def of_sets(sets: Sequence[ValidationSet], positions: Indices, vectors: Tensor) -> list[Tensor]:
    """Each set's rows of vectors (N, D), which are those of the sorted positions (N,)."""
    return [vectors[np.searchsorted(positions, one.positions)] for one in sets]


def positions_of(sets: Sequence[ValidationSet]) -> Indices:
    """The positions of all the sets' pictures, sorted, each once."""
    return np.unique(np.concatenate([np.empty(0, np.intp), *(one.positions for one in sets)]))

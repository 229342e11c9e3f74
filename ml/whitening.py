"""Whitening: a map of finished embeddings (ml.network.Whitening) that a gallery's own vectors teach, without labels.

Pictures of one gallery have much in common, and so have their vectors: a shared mean, which makes all of them similar
and tells none apart. Taking it away puts more of a class before the rest; dividing by the spread as well makes weak
directions count as much as strong ones, of which a little helps and much harms. Measured: docs/experiments.md.
Source: Jégou and Chum 2012, "Negative evidences and co-occurences in image retrieval" (ECCV), section 3.
"""

from pathlib import Path

import numpy as np
import torch

from ml.card import ModelCard, Provenance
from ml.checkpoint import load_checkpoint, now, save_checkpoint
from ml.network import Whitening
from umbel.base.errors import Conflict, InvalidInput
from umbel.base.types import Vectors

LEAST = 100  # vectors; a mean over fewer is mostly chance
SHRINKAGE = 0.3  # of the covariance towards a sphere: a gallery may hold fewer pictures than dimensions


def fit_whitening(vectors: Vectors, strength: float = 0.0) -> Whitening:
    """The whitening of vectors (N, dim) of unit length.

    strength in [0, 1]: 0 takes their mean away and nothing else, 1 gives all directions the same spread. Raises
    InvalidInput for fewer than LEAST vectors.
    """
    if len(vectors) < LEAST:
        raise InvalidInput(f"Whitening needs at least {LEAST} vectors, and there are {len(vectors):,}.")
    mean = vectors.mean(0, dtype=np.float64)
    centered = vectors - mean
    covariance = centered.T @ centered / len(vectors)
    sphere = np.eye(len(mean)) * np.trace(covariance) / len(mean)
    spreads, directions = np.linalg.eigh((1 - SHRINKAGE) * covariance + SHRINKAGE * sphere)
    scales = (np.maximum(spreads, 1e-12) / spreads.max()) ** (-strength / 2)
    change = directions * scales @ directions.T
    whitening = Whitening(len(mean))
    with torch.no_grad():
        whitening.linear.weight.copy_(torch.from_numpy(change))
        whitening.linear.bias.copy_(torch.from_numpy(-change @ mean))
    return whitening


def save_whitened(
    path: Path, checkpoint: Path, vectors: Vectors, *, name: str, gallery: str, strength: float = 0.0
) -> ModelCard:
    """Write the model of a checkpoint, with the whitening of these vectors (N, dim) that it made, and its card.

    name: the new model's; gallery: where the vectors are from, in words. The calibration is left out: distances are
    others now. Raises InvalidInput for fewer than LEAST vectors, Conflict for a model that is whitened already, and as
    load_checkpoint does.
    """
    network, card = load_checkpoint(checkpoint)
    if network.whitening is not None:
        raise Conflict(f"{card.name} is whitened already; activate the model that it was made of, and whiten that.")
    network.whitening = fit_whitening(vectors, strength)
    about = Provenance(
        data=[f"{len(vectors):,} vectors of {gallery}, without labels"],
        start=card.name,
        start_sha256=card.weights_sha256,
        recipe={"whitening_strength": strength},
        created_at=now(),
        note=f"{card.name} with its vectors whitened; that was trained on: {'; '.join(card.provenance.data)}",
    )
    return save_checkpoint(
        path, network, name=name, preprocessing=card.preprocessing, provenance=about, domain=card.domain
    )

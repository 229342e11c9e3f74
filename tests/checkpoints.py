"""Checkpoints beside the one that ships, for tests of model versions: other weights, another width, a bad one."""

from pathlib import Path

import torch

from ml.card import Provenance
from ml.checkpoint import load_checkpoint, save_checkpoint
from ml.shipped import SHIPPED

PROVENANCE = Provenance(data=[], start="the shipped model", created_at="2026-01-01T00:00:00Z")


def variant(path: Path, *, size: int = 160, noise: float = 0.0, seed: int = 0) -> Path:
    """The shipped network on pictures of `size` pixels; noise: added to all its weights; 0.5 makes it
    useless, 100 makes no numbers of a picture any more."""
    network, card = load_checkpoint(SHIPPED)
    random = torch.Generator().manual_seed(seed)
    changed = [*network.backbone.parameters()] if noise else []
    with torch.no_grad():
        for weight in [*changed, network.neck.linear.weight]:
            if weight.numel() > 1:
                weight.add_((noise + 1e-4) * weight.std() * torch.randn(weight.shape, generator=random))
    preprocessing = card.preprocessing.model_copy(update={"size": size})
    save_checkpoint(path, network, name=path.stem, preprocessing=preprocessing, provenance=PROVENANCE)
    return path

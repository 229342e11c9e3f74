"""Small models, real ones: the shipped network on small pictures, with fewer numbers in a vector."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ml.checkpoint import load_checkpoint, save_checkpoint
from ml.network import EmbeddingNetwork
from ml.shipped import SHIPPED
from tests.checkpoints import PROVENANCE
from umbel.base.settings import Settings

SIDE = 64  # pixels of the network's input


def small_model(path: Path, first: int, dim: int, *, calibrated: bool = True) -> Path:
    """A checkpoint whose vectors are some numbers of the shipped model's: from number `first` on, `dim` of them."""
    shipped, card = load_checkpoint(SHIPPED)
    network = EmbeddingNetwork(card.architecture, dim, card.pooling, card.neck).eval()
    own, rows = network.state_dict(), slice(first, first + dim)
    for key, tensor in shipped.state_dict().items():
        if key in own:
            own[key] = tensor[rows] if key.startswith("neck.") and tensor.ndim else tensor
    network.load_state_dict(own)
    save_checkpoint(
        path,
        network,
        name=path.stem,
        preprocessing=card.preprocessing.model_copy(update={"size": SIDE}),
        provenance=PROVENANCE,
        calibration=card.calibration if calibrated else None,
    )
    return path


class Recomputed:
    """The vectors of a checkpoint, computed apart from the service."""

    def __init__(self, path: Path) -> None:
        torch.set_num_threads(1)  # a team of threads would wait for each other beside the stack
        self._network, self._card = load_checkpoint(path)
        self._limits = Settings(home=path.parent)
        self.vote = self._card.calibration.vote if self._card.calibration else None

    @torch.inference_mode()
    def vector(self, data: bytes) -> NDArray[np.float32]:
        """(dim,) of unit length."""
        preprocessing = self._card.preprocessing
        pixels = np.asarray(preprocessing.decode(data, self._limits), np.float32) / 255
        scaled = (pixels - np.float32(preprocessing.mean)) / np.float32(preprocessing.std)
        return self._network(torch.from_numpy(scaled.transpose(2, 0, 1)[None])).numpy()[0]

"""The network as it is served: with the arithmetic of its preprocessing inside, whichever runtime it is handed to."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.network import EmbeddingNetwork
from ml.preprocess import Preprocessing


class ServedNetwork(nn.Module):
    """(n, size, size, 3) uint8 RGB → (n, dim) of unit length.

    Pictures travel as bytes, a quarter of what floats take, and are standardised where the network runs. The network
    is put into eval mode, its batch norms are folded where that is exact.
    """

    def __init__(self, network: EmbeddingNetwork, preprocessing: Preprocessing) -> None:
        super().__init__()
        network.eval().requires_grad_(False).fold_batch_norm()
        self.network = network
        self.flip_average = preprocessing.flip_average
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", mean / std)

    def forward(self, batch: Tensor) -> Tensor:
        # NHWC in memory is what torch calls channels_last once it is permuted.
        pictures = (batch.float() * self.scale - self.shift).permute(0, 3, 1, 2)
        vectors: Tensor = self.network(pictures)
        if self.flip_average:
            vectors = F.normalize(vectors + self.network(pictures.flip(-1)))
        return vectors.float()

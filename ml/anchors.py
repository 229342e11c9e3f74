"""Anchors: a last layer of models that Umbel trained once, which draws an embedding to a known class that it is near.

None are made any more (ADR 20). Galleries that were embedded with them go on until they are reindexed.

Source: one step of the update rule of Ramsauer et al. 2020, arXiv:2008.02217, eq. 3 (modern Hopfield networks), with
class means as the stored patterns, a residual, and a pattern for nothing.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Anchors(nn.Module):
    """(B, dim) unit length → (B, dim), not normalized. A new module has no pull and changes nothing.

    centres: (C, dim) unit length, of all known classes; pull: (C,), how far each draws what is surely its own, 0 for
    classes that only compete; sharpness: of the softmax over the cosines; nothing: the cosine that "none of them" is
    taken to have.
    """

    def __init__(self, classes: int, dim: int, sharpness: float = 8.0, nothing: float = 0.2) -> None:
        super().__init__()
        self.centres: Tensor
        self.pull: Tensor
        self.sharpness: Tensor
        self.nothing: Tensor
        self.register_buffer("centres", torch.zeros(classes, dim))
        self.register_buffer("pull", torch.zeros(classes))
        self.register_buffer("sharpness", torch.tensor(sharpness))
        self.register_buffer("nothing", torch.tensor(nothing))

    def forward(self, embeddings: Tensor) -> Tensor:
        # In float32 also under autocast, whose rounding a sharp softmax would show.
        with torch.autocast(embeddings.device.type, enabled=False):
            cosines = embeddings.float() @ self.centres.T
            nothing = self.nothing.expand(embeddings.shape[0], 1)
            shares = F.softmax(self.sharpness * torch.cat([cosines, nothing], 1), 1)[:, :-1]
            return embeddings + (shares * self.pull) @ self.centres

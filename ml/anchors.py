"""Anchors: the centres of a few known classes, which draw an embedding nearer when it is already near one.

Stretching the directions between classes for all pictures alike (ml.neck) buys order among the known classes
with disorder among the unknown ones. An anchor acts on those alone that come close to it: a softmax over all known
classes, and over "none of them", says how much. Measured in docs/experiments.md.

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

    @classmethod
    def at_means(cls, embeddings: Tensor, labels: Tensor, pulling: Tensor, pull: float) -> "Anchors":
        """Anchors at the class means of the training pictures.

        embeddings: (N, dim) unit length; labels: (N,) in [0, C), all C there; pulling: (N,) bool, pictures of the
        classes that draw with the strength `pull`.
        """
        classes = int(labels.max()) + 1
        anchors = cls(classes, embeddings.shape[1])
        sums = torch.zeros_like(anchors.centres).index_add_(0, labels, embeddings.float())
        anchors.centres.copy_(F.normalize(sums))
        anchors.pull[labels[pulling]] = pull
        return anchors

    def forward(self, embeddings: Tensor) -> Tensor:
        # In float32 also under autocast, whose rounding a sharp softmax would show.
        with torch.autocast(embeddings.device.type, enabled=False):
            cosines = embeddings.float() @ self.centres.T
            nothing = self.nothing.expand(embeddings.shape[0], 1)
            shares = F.softmax(self.sharpness * torch.cat([cosines, nothing], 1), 1)[:, :-1]
            return embeddings + (shares * self.pull) @ self.centres

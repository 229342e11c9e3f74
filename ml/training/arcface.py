"""ArcFace: classification by angle, with a margin, so that classes end up apart by more than a boundary."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ArcFace(nn.Module):
    """Additive angular margin loss. embeddings (B, D), labels (B,) in [0, C) → scalar, the mean over the batch.

    margin: radians, added to the angle between an embedding and its own class's center; may be changed between
    steps. scale: s, the inverse temperature. centers: sub-centers a class; the nearest counts, so that a class of
    several looks need not be pulled into one.
    folders: (C,) integers: each class competes only with those of its own folder; None: with all. Classes of data sets
    that differ in more than their subject (sharpness, say) can so be kept from being told apart by that.
    Source: Deng et al. 2019, arXiv:1801.07698, eq. 3; sub-centers: Deng et al. 2020, ECCV, eq. 3.
    """

    def __init__(
        self,
        classes: int,
        dim: int,
        *,
        margin: float = 0.3,
        scale: float = 30.0,
        centers: int = 1,
        folders: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.margin, self.scale, self.classes, self.centers = margin, scale, classes, centers
        self.weight = nn.Parameter(F.normalize(torch.randn(classes * centers, dim)))
        self.folders: Tensor | None
        self.register_buffer("folders", folders, persistent=False)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """(B, D) → (B, C): cosine to each class's nearest center."""
        each = F.normalize(embeddings) @ F.normalize(self.weight).T
        return each.view(-1, self.classes, self.centers).amax(-1)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        cosines = self.cosines(embeddings.float())
        own = F.one_hot(labels, self.classes).bool()
        logits = torch.where(own, self._with_margin(cosines), cosines) * self.scale
        if self.folders is not None:
            logits = logits.masked_fill(self.folders[labels, None] != self.folders, -math.inf)
        return F.cross_entropy(logits, labels)

    def _with_margin(self, cosines: Tensor) -> Tensor:
        """cos(θ + margin), continued beyond θ = π − margin so that it still falls as θ grows."""
        # acos has no slope at ±1; a hair inside keeps the gradient finite.
        angles = torch.acos(cosines.clamp(-1 + 1e-7, 1 - 1e-7))
        beyond = cosines - self.margin * math.sin(self.margin)
        return torch.where(angles <= math.pi - self.margin, torch.cos(angles + self.margin), beyond)

    @torch.no_grad()
    def initialize(self, embeddings: Tensor, labels: Tensor) -> None:
        """Start each center at the mean of its class (sub-centers: a little beside it), embeddings (N, D)."""
        means = torch.zeros(self.classes, embeddings.shape[1]).index_add_(0, labels, F.normalize(embeddings))
        spread = F.normalize(means).repeat_interleave(self.centers, 0)
        if self.centers > 1:
            spread = spread + 0.02 * torch.randn_like(spread)
        self.weight.copy_(F.normalize(spread))

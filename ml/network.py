"""The network: a backbone's features → pooling → projection → batch norm → unit length → anchors → whitening."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml import backbones
from ml.anchors import Anchors
from ml.neck import Projection
from umbel.base.errors import InvalidInput

Pooling = Literal["avg", "gem"]
Neck = Literal["projection", "none"]


class GeM(nn.Module):
    """Generalized-mean pooling: (B, C, H, W) → (B, C). power 1 is the average, ∞ the maximum; learned.

    Source: Radenović et al. 2018, arXiv:1711.02512, eq. 3.
    """

    def __init__(self, power: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(power))
        self.eps = eps

    def forward(self, features: Tensor) -> Tensor:
        return features.float().clamp(min=self.eps).pow(self.power).mean((-2, -1)).pow(1 / self.power)


class Whitening(nn.Module):
    """(B, dim) → (B, dim), both of unit length: a linear map, and normalized again. A new one changes nothing.

    What it is taught: ml.whitening.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(dim))
            self.linear.bias.zero_()

    def forward(self, embeddings: Tensor) -> Tensor:
        # In float32 also under autocast: the mean that is taken away is large beside what is left.
        with torch.autocast(embeddings.device.type, enabled=False):
            return F.normalize(self.linear(embeddings.float()))


class EmbeddingNetwork(nn.Module):
    """Standardized pictures (B, 3, S, S) → embeddings (B, dim) float32 of unit length.

    neck "projection": Linear(features → dim), then BatchNorm1d. neck "none": the pooled features themselves, for
    a backbone that was not fine-tuned; dim is then the backbone's width. pooling "avg": the backbone's own, which for
    a ViT is the token or the mean that its classifier takes. size: S, which matters to backbones of a fixed size;
    None: what timm's weights were trained on. anchors: how many classes ml.anchors knows; 0 for none. whitened: whether
    ml.whitening follows.
    Raises InvalidInput for an architecture or a pooling that there is not.
    """

    def __init__(
        self,
        architecture: str,
        dim: int = 512,
        pooling: Pooling = "avg",
        neck: Neck = "projection",
        *,
        pretrained: bool = False,
        size: int | None = None,
        anchors: int = 0,
        whitened: bool = False,
    ) -> None:
        super().__init__()
        backbone = backbones.create(architecture, size=size, pretrained=pretrained)
        if pooling == "gem" and not backbones.pools_maps(backbone):
            raise InvalidInput(f"Pooling gem needs feature maps, which {architecture} does not end in; take avg.")
        self.backbone = backbone
        self.pool = GeM() if pooling == "gem" else nn.Identity()
        self.features: int = getattr(backbone, "head_hidden_size", None) or backbone.num_features
        self.neck: Any = Projection(self.features, dim) if neck == "projection" else nn.Identity()
        self.architecture, self.pooling, self.neck_kind = architecture, pooling, neck
        self.trained_neck = False  # True once the projection holds more than its random beginning
        self.dim = dim if neck == "projection" else self.features
        self.anchors: Anchors | None = Anchors(anchors, self.dim) if anchors else None
        self.whitening: Whitening | None = Whitening(self.dim) if whitened else None

    def pooled(self, pictures: Tensor) -> Tensor:
        """(B, 3, S, S) → (B, features) float32: what the backbone says, before the neck."""
        if self.pooling == "gem":
            pooled: Tensor = self.pool(self.backbone.forward_features(pictures))
            return pooled
        return backbones.pooled(self.backbone, pictures)

    def embed(self, pooled: Tensor) -> Tensor:
        """(B, features) → (B, dim) float32 of unit length: what the neck makes of the backbone's features."""
        embeddings = F.normalize(self.neck(pooled).float())
        if self.anchors is not None:
            embeddings = F.normalize(self.anchors(embeddings))
        return embeddings if self.whitening is None else self.whitening(embeddings)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.embed(self.pooled(pictures))

    def load_backbone(self, state: dict[str, Tensor]) -> None:
        """Take the weights of a timm backbone, with a classifier or without. Raises RuntimeError if they don't fit."""
        backbones.load_weights(self.backbone, state)

    def fold_batch_norm(self) -> None:
        """Fold the neck's batch norm into its projection: the same output in eval mode, one step less."""
        if isinstance(self.neck, Projection):
            self.neck.fold()

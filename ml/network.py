"""The network: EfficientNetV2 features → pooling → projection → batch norm → unit length → anchors → unit length."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.anchors import Anchors
from ml.neck import Projection
from ml.torchvision_ops import make_importable

make_importable()

import timm  # noqa: E402

ARCHITECTURES = ("tf_efficientnetv2_b0", "tf_efficientnetv2_b3", "tf_efficientnetv2_s", "tf_efficientnetv2_m")

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


class AveragePool(nn.Module):
    """Average pooling in float32: (B, C, H, W) → (B, C)."""

    def forward(self, features: Tensor) -> Tensor:
        return features.float().mean((-2, -1))


class EmbeddingNetwork(nn.Module):
    """Standardized pictures (B, 3, S, S) → embeddings (B, dim) float32 of unit length.

    neck "projection": Linear(features → dim), then BatchNorm1d. neck "none": the pooled features themselves, for
    a backbone that was not fine-tuned; dim is then the backbone's width. anchors: how many classes ml.anchors
    knows; 0 for none.
    """

    def __init__(
        self,
        architecture: str,
        dim: int = 512,
        pooling: Pooling = "avg",
        neck: Neck = "projection",
        *,
        pretrained: bool = False,
        anchors: int = 0,
    ) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ValueError(f"Unknown architecture {architecture!r}; known: {', '.join(ARCHITECTURES)}.")
        backbone: Any = timm.create_model(architecture, pretrained=pretrained, num_classes=0, global_pool="")
        self.backbone = backbone
        self.pool = GeM() if pooling == "gem" else AveragePool()
        self.features: int = backbone.num_features
        self.neck: Any = Projection(self.features, dim) if neck == "projection" else nn.Identity()
        self.architecture, self.pooling, self.neck_kind = architecture, pooling, neck
        self.trained_neck = False  # True once the projection holds more than its random beginning
        self.dim = dim if neck == "projection" else self.features
        self.anchors: Anchors | None = Anchors(anchors, self.dim) if anchors else None

    def pooled(self, pictures: Tensor) -> Tensor:
        """(B, 3, S, S) → (B, features) float32: what the backbone says, before the neck."""
        pooled: Tensor = self.pool(self.backbone.forward_features(pictures))
        return pooled

    def embed(self, pooled: Tensor) -> Tensor:
        """(B, features) → (B, dim) float32 of unit length: what the neck makes of the backbone's features."""
        embeddings = F.normalize(self.neck(pooled).float())
        return embeddings if self.anchors is None else F.normalize(self.anchors(embeddings))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.embed(self.pooled(pictures))

    def load_backbone(self, state: dict[str, Any]) -> None:
        """Take the weights of a timm backbone saved with num_classes=0. Raises RuntimeError when they do not fit."""
        self.backbone.load_state_dict({name: tensor.float() for name, tensor in state.items()})

    def fold_batch_norm(self) -> None:
        """Fold the neck's batch norm into its projection: the same output in eval mode, one step less."""
        if isinstance(self.neck, Projection):
            self.neck.fold()

"""The neck between backbone and embedding: a linear map whose start and finish come from statistics.

It starts as a PCA of the untrained features, so that training begins with the backbone's own geometry; and when
training is over, what varies inside classes is turned down.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval


class Projection(nn.Module):
    """(B, features) → (B, dim): a linear map and batch norm."""

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, dim)
        self.norm: nn.Module = nn.BatchNorm1d(dim)

    def forward(self, pooled: Tensor) -> Tensor:
        projected: Tensor = self.norm(self.linear(pooled))
        return projected

    def batch_norm(self) -> nn.BatchNorm1d:
        """The norm of a neck that was not folded."""
        assert isinstance(self.norm, nn.BatchNorm1d)
        return self.norm

    @torch.no_grad()
    def fold(self) -> None:
        """Let the linear map do the batch norm's work (eval mode)."""
        if isinstance(self.norm, nn.BatchNorm1d):
            self.linear = fuse_linear_bn_eval(self.linear, self.norm.eval())
            self.norm = nn.Identity()


def _mean(norm: nn.BatchNorm1d) -> Tensor:
    assert norm.running_mean is not None  # kept, since BatchNorm1d tracks statistics unless told not to
    return norm.running_mean


def _variance(norm: nn.BatchNorm1d) -> Tensor:
    assert norm.running_var is not None
    return norm.running_var


@torch.no_grad()
def initialize(neck: Projection, pooled: Tensor, whitening: float = 0.25) -> None:
    """Set the neck to a centered PCA of `pooled`, so that training starts from the backbone's own geometry.

    pooled: (N, features) of the pictures at hand. whitening in [0, 1]: 0 keeps every cosine of the centered features,
    1 gives all directions the same spread. A little helps finding kinds that were not trained on; much of it blows
    up the directions that carry only noise (measured: docs/experiments.md).
    """
    linear, norm = neck.linear, neck.batch_norm()
    mean = pooled.mean(0)
    _, _, directions = torch.linalg.svd(pooled - mean, full_matrices=False)
    rows = directions[: linear.out_features]
    # Fewer pictures than dimensions: the missing directions hold nothing of these pictures, so they stay zero.
    linear.weight.zero_()[: len(rows)] = rows
    linear.bias.copy_(-(linear.weight @ mean))
    variance = linear(pooled).var(0).clamp(min=1e-6)
    _mean(norm).zero_()
    _variance(norm).copy_(variance)
    spread = torch.sqrt(variance + norm.eps)  # what the norm divides by; its weight gives most of it back
    norm.weight.copy_((spread / spread.max()) ** (1 - whitening))
    norm.bias.zero_()


@torch.no_grad()
def within_class_whitening(
    neck: Projection, pooled: Tensor, labels: Tensor, *, strength: float = 0.75, shrinkage: float = 0.05
) -> None:
    """Turn down what differs inside classes: a linear change of the neck.

    pooled: (N, features) of the training pictures; labels: (N,).
    strength in [0, 1]: 0 changes nothing, 1 gives all directions the same spread within a class. What varies inside
    the known classes (pose, light, background) varies inside unknown ones too, so this helps most with kinds that
    were not trained on. Measured in docs/experiments.md.
    Source: Hatch et al. 2006, "Within-class covariance normalization for SVM-based speaker recognition", with the
    covariance's power as a strength and the covariance shrunk towards a sphere.
    """
    before = neck(pooled).double()
    change = _whitening_map(_within_class_covariance(before, labels), strength, shrinkage)
    _append(neck, change, before.mean(0))


def _whitening_map(within: Tensor, strength: float, shrinkage: float) -> Tensor:
    """(D, D) covariance → the symmetric (D, D) map that divides by its square root, to the power of `strength`."""
    sphere = torch.eye(len(within), dtype=within.dtype) * within.diagonal().mean()
    values, vectors = torch.linalg.eigh((1 - shrinkage) * within + shrinkage * sphere)
    return vectors @ torch.diag((values / values.max()) ** (-strength / 2)) @ vectors.T


def _append(neck: Projection, change: Tensor, mean: Tensor) -> None:
    """Make the neck's output y into change · (y − mean), all in its linear map; the norm then hands y through."""
    linear, norm = neck.linear, neck.batch_norm()
    gain = (norm.weight / torch.sqrt(_variance(norm) + norm.eps)).double()
    weight, bias = gain[:, None] * linear.weight, gain * (linear.bias - _mean(norm)) + norm.bias
    linear.weight.copy_(change @ weight)
    linear.bias.copy_(change @ (bias - mean))
    _mean(norm).zero_()
    _variance(norm).fill_(1 - norm.eps)
    norm.weight.fill_(1)
    norm.bias.zero_()


def _within_class_covariance(vectors: Tensor, labels: Tensor) -> Tensor:
    """(N, D), (N,) → (D, D): the mean over the classes of each class's covariance."""
    classes, members = labels.unique(return_inverse=True)
    count = torch.bincount(members).to(vectors)
    means = torch.zeros(len(classes), vectors.shape[1], dtype=vectors.dtype).index_add_(0, members, vectors)
    centered = (vectors - (means / count[:, None])[members]) / count.sqrt()[members][:, None]
    return centered.T @ centered / len(classes)

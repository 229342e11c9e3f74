"""What learns: the network, its ArcFace head, their optimiser, and the average of the weights along the way."""

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ml.network import EmbeddingNetwork
from ml.training.arcface import ArcFace
from ml.training.batches import Batch
from ml.training.recipe import Recipe

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss and its parts."""

    total: float
    arcface: float
    drift: float


class Learner:
    """One training run's moving parts.

    labels: (N,) class of each training picture; start: (N, dim), where the untrained network puts each of them
    without variation; rivals: see ArcFace; steps: in the whole run.
    """

    def __init__(
        self,
        network: EmbeddingNetwork,
        recipe: Recipe,
        *,
        labels: Tensor,
        start: Tensor,
        rivals: Tensor | None,
        steps: int,
        arithmetic: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.network, self.recipe, self.steps, self.done = network, recipe, steps, 0
        self.labels, self.start, self.arithmetic = labels, start, arithmetic
        self.head = ArcFace(
            int(labels.max()) + 1, network.dim, scale=recipe.scale, centres=recipe.centres, rivals=rivals
        )
        self.head.initialise(start, labels)
        self.device = next(network.parameters()).device
        self.head.to(self.device)
        self.average = copy.deepcopy(network)
        groups = parameter_groups(network, self.head, recipe)
        self.optimiser = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self._rate)

    def step(self, batch: Batch) -> Loss:
        """Learn from one batch."""
        ramp = min(1.0, self.done / max(1.0, self.recipe.margin_ramp * self.steps))
        self.head.margin = self.recipe.margin * ramp
        # Batch norm stays in eval mode: a few thousand pictures make worse statistics than the start's.
        with self.arithmetic():
            embeddings = self.network.eval()(batch.pictures.to(self.device, non_blocking=True))
        arcface = self.head(embeddings, self.labels[batch.rows].to(self.device))
        drift = cosine_drift(embeddings, self.start[batch.rows].to(self.device))
        loss = arcface + self.recipe.distillation * drift
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimiser.step()
        self.schedule.step()
        self.done += 1
        self._update_average()
        return Loss(loss.item(), arcface.item(), drift.item())

    def _rate(self, step: int) -> float:
        """Warm-up, then a cosine to nearly nothing: the factor on every group's rate."""
        warm_up = max(1.0, self.recipe.warm_up * self.steps)
        if step < warm_up:
            return (step + 1) / (warm_up + 1)
        done = min(1.0, (step - warm_up) / max(1.0, self.steps - warm_up))
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on a long memory would hold mostly the start, so the memory grows with the run.
        keep = min(self.recipe.ema, (1 + self.done) / (10 + self.done))
        for old, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
            old.lerp_(new, 1 - keep)


def cosine_drift(embeddings: Tensor, start: Tensor) -> Tensor:
    """How far the pairwise cosines of a batch have moved from the start's: mean square over the pairs, a scalar.

    embeddings, start: (B, dim) unit length. Keeps what the classes at hand do not ask for, and so what tells
    classes apart that nobody trained on. Source: Park et al. 2019, arXiv:1904.05068 (relational distillation).
    """
    moved = (embeddings @ embeddings.T - start @ start.T).square()
    pairs = len(embeddings) * (len(embeddings) - 1)
    return (moved.sum() - moved.diagonal().sum()) / pairs


def parameter_groups(network: EmbeddingNetwork, head: ArcFace, recipe: Recipe) -> list[dict[str, object]]:
    """AdamW's groups: each stage of the backbone slower than the one after it, the neck and the centres faster.

    Vectors (biases, batch norm) are not decayed. Frozen stages stop learning here.
    """
    backbone = network.backbone
    stages = [nn.ModuleList([backbone.conv_stem, backbone.bn1]), *backbone.blocks]
    stages.append(nn.ModuleList([backbone.conv_head, backbone.bn2]))
    groups: list[dict[str, object]] = []
    for depth, stage in enumerate(stages):
        frozen = recipe.frozen_stages > 0 and depth <= recipe.frozen_stages
        stage.requires_grad_(not frozen)
        if not frozen:
            groups += _by_decay(stage, recipe.backbone_rate * recipe.layer_decay ** (len(stages) - 1 - depth))
    groups += _by_decay(network.pool, recipe.neck_rate)
    groups += _by_decay(network.neck, recipe.neck_rate)
    groups.append({"params": [head.weight], "lr": recipe.centre_rate, "weight_decay": 0.0})
    return groups


def _by_decay(module: nn.Module, rate: float) -> list[dict[str, object]]:
    matrices = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in module.parameters() if parameter.ndim <= 1]
    groups: list[dict[str, object]] = [{"params": matrices, "lr": rate}]
    groups.append({"params": vectors, "lr": rate, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def copied(network: nn.Module) -> State:
    """The network's weights and statistics as they are now."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def blended(start: State, trained: State, share: float) -> State:
    """Weights between the start (share 0) and the trained ones (1).

    Source: Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT).
    """
    return {
        name: torch.lerp(tensor, trained[name], share) if tensor.is_floating_point() else trained[name]
        for name, tensor in start.items()
    }

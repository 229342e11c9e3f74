"""One network in training: its weights, their average along the way, its ArcFace head and its optimizer."""

import copy
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ml import backbones
from ml.devices import training_dtype
from ml.evaluation.validation import precision
from ml.network import EmbeddingNetwork
from ml.training.arcface import ArcFace
from ml.training.batches import Batch
from ml.training.group import ALONE, Group
from ml.training.progress import Loss
from ml.training.recipe import Recipe

State = dict[str, Tensor]


class Step(nn.Module):
    """From images to the loss, whose gradients torch can average over processes.

    images: (B, 3, S, S); labels: (B,); start: (B, dim), where the untrained network puts the images; thawed: whether
    the backbone learns, or the neck alone → loss, and its parts arcface and drift, each a scalar.
    """

    def __init__(self, network: EmbeddingNetwork, head: ArcFace, distillation: float) -> None:
        super().__init__()
        self.network, self.head, self.distillation = network, head, distillation

    def forward(self, images: Tensor, labels: Tensor, start: Tensor, thawed: bool) -> tuple[Tensor, Tensor, Tensor]:
        with precision(images.device):
            with torch.set_grad_enabled(thawed):
                pooled = self.network.pooled(images)
            embeddings = self.network.embed(pooled)
        arcface, drift = self.head(embeddings, labels), cosine_drift(embeddings, start)
        return arcface + self.distillation * drift, arcface, drift


class Learner:
    """What changes with each step, and can be kept and restored.

    labels: (N,) class of each training image; start: (N, dim), where the untrained network puts each of them
    without variation; folders: see ArcFace; steps: in the whole run; group: of each batch only this process's share
    is brought.
    """

    def __init__(
        self,
        network: EmbeddingNetwork,
        recipe: Recipe,
        *,
        labels: Tensor,
        start: Tensor,
        folders: Tensor | None,
        steps: int,
        group: Group = ALONE,
    ) -> None:
        self.group = group
        self.network, self.recipe, self.steps, self.done = network, recipe, steps, 0
        self.labels, self.start = labels, start
        self.device = next(network.parameters()).device
        self.head = ArcFace(
            int(labels.max()) + 1, network.dim, scale=recipe.scale, centers=recipe.centers, folders=folders
        )
        self.head.initialize(start, labels)
        self.head.to(self.device)
        self.average = copy.deepcopy(network)
        self.best: State = {}  # the average after the best epoch so far
        self.optimizer = torch.optim.AdamW(parameter_groups(network, self.head, recipe))
        # Gradients of fp16 vanish unless the loss is scaled up. Source: Micikevicius et al. 2018, arXiv:1710.03740.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=training_dtype(self.device) is torch.float16)
        step = Step(network, self.head, recipe.distillation)
        self.together = group.together(step, self.device, unused=recipe.neck_first > 0)

    def step(self, batch: Batch) -> Loss:
        """Learn from one batch."""
        recipe = self.recipe
        self.head.margin = recipe.margin * min(1.0, self.done / max(1.0, recipe.margin_ramp * self.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * lr_factor(self.done, self.steps, recipe.warm_up)
        # Batch norm stays in eval mode: a few thousand images make worse statistics than the start's.
        self.network.eval()
        loss, arcface, drift = self.together(
            batch.images.to(self.device, non_blocking=True),
            self.labels[batch.rows].to(self.device),
            self.start[batch.rows].to(self.device),
            self.done >= recipe.neck_first * self.steps,
        )
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.done += 1
        self._update_average()
        return Loss(*self.group.mean(torch.stack([loss, arcface, drift]).detach()).tolist())

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on a long memory would hold mostly the start, so the memory grows with the run.
        keep = min(self.recipe.ema, (1 + self.done) / (10 + self.done))
        for old, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
            old.lerp_(new, 1 - keep)

    def tensors(self) -> State:
        """Everything that the next steps depend on, by name; `restore` takes it back."""
        state = {"done": torch.tensor(self.done), "head": self.head.weight.detach()}
        if self.scaler.is_enabled():
            kept = self.scaler.state_dict()
            state["scaler"] = torch.tensor([kept["scale"], kept["_growth_tracker"]], dtype=torch.float64)
        state |= prefixed("network", self.network.state_dict())
        state |= prefixed("average", self.average.state_dict()) | prefixed("best", self.best)
        for number, moments in self.optimizer.state_dict()["state"].items():
            state |= prefixed(f"adam.{number}", moments)
        return state

    def restore(self, state: State) -> None:
        """Go on from what `tensors` gave."""
        self.done = int(state["done"])
        self.network.load_state_dict(under("network", state))
        self.average.load_state_dict(under("average", state))
        self.best = under("best", state)
        if self.scaler.is_enabled() and "scaler" in state:
            scale, tracker = state["scaler"].tolist()
            self.scaler.load_state_dict(self.scaler.state_dict() | {"scale": scale, "_growth_tracker": int(tracker)})
        with torch.no_grad():
            self.head.weight.copy_(state["head"])
        optimizer = self.optimizer.state_dict()
        numbers = sorted({int(name.split(".")[1]) for name in state if name.startswith("adam.")})
        optimizer["state"] = {number: under(f"adam.{number}", state) for number in numbers}
        self.optimizer.load_state_dict(optimizer)


def lr_factor(step: int, steps: int, warm_up: float) -> float:
    """The factor on every rate at a step, from 0: warm-up over this share of the run, then a cosine down to 0.01."""
    warming = max(1.0, warm_up * steps)
    if step < warming:
        return (step + 1) / (warming + 1)
    done = min(1.0, (step - warming) / max(1.0, steps - warming))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def cosine_drift(embeddings: Tensor, start: Tensor) -> Tensor:
    """How far the pairwise cosines of a batch have moved from the start's: mean square over the pairs, a scalar.

    embeddings, start: (B, dim) unit length. Keeps what the classes at hand do not ask for, and so what tells
    unknown classes apart. Source: Park et al. 2019, arXiv:1904.05068 (relational distillation).
    """
    moved = (embeddings @ embeddings.T - start @ start.T).square()
    pairs = len(embeddings) * (len(embeddings) - 1)
    return (moved.sum() - moved.diagonal().sum()) / pairs


def parameter_groups(network: EmbeddingNetwork, head: ArcFace, recipe: Recipe) -> list[dict[str, Any]]:
    """AdamW's groups: each stage of the backbone slower than the one after it, the neck and the centers faster.

    Vectors (biases, norms) and position embeddings are not decayed. Frozen stages stop learning here.
    """
    groups: list[dict[str, Any]] = []
    undecayed = backbones.undecayed(network.backbone)

    def learn(named: Iterable[tuple[str, nn.Parameter]], lr: float) -> None:
        parts: dict[float, list[nn.Parameter]] = {recipe.weight_decay: [], 0.0: []}
        for name, parameter in named:
            parts[recipe.weight_decay if parameter.ndim > 1 and name not in undecayed else 0.0].append(parameter)
        groups.extend(
            {"params": params, "weight_decay": decay, "base_lr": lr} for decay, params in parts.items() if params
        )

    stages = backbones.stages(network.backbone)
    for depth, stage in enumerate(stages):
        frozen = recipe.frozen_stages > 0 and depth <= recipe.frozen_stages
        for _, parameter in stage:
            parameter.requires_grad_(not frozen)
        if not frozen:
            learn(stage, recipe.backbone_lr * recipe.layer_decay ** (len(stages) - 1 - depth))
    learn(network.pool.named_parameters(), recipe.neck_lr)
    learn(network.neck.named_parameters(), recipe.neck_lr)
    return [*groups, {"params": [head.weight], "weight_decay": 0.0, "base_lr": recipe.center_lr}]


def prefixed(prefix: str, state: State) -> State:
    """The tensors with `prefix.` before their names."""
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def under(prefix: str, state: State) -> State:
    """The tensors whose names begin with `prefix.`, without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in state.items() if name.startswith(f"{prefix}.")}


def copied(network: nn.Module) -> State:
    """The network's weights and statistics as they are now."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}

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
        precision: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.network, self.recipe, self.steps, self.done = network, recipe, steps, 0
        self.labels, self.start, self.precision = labels, start, precision
        self.head = ArcFace(
            int(labels.max()) + 1, network.dim, scale=recipe.scale, centres=recipe.centres, rivals=rivals
        )
        self.head.initialise(start, labels)
        self.device = next(network.parameters()).device
        self.head.to(self.device)
        self.average = copy.deepcopy(network)
        self.groups = parameter_groups(network, self.head, recipe)
        self.optimiser = torch.optim.AdamW(
            [{"params": one.parameters, "weight_decay": one.decay} for one in self.groups]
        )

    def step(self, batch: Batch) -> Loss:
        """Learn from one batch."""
        self._set_rates()
        embeddings = self._embed(batch.images.to(self.device, non_blocking=True))
        arcface = self.head(embeddings, self.labels[batch.rows].to(self.device))
        drift = cosine_drift(embeddings, self.start[batch.rows].to(self.device))
        loss = arcface + self.recipe.distillation * drift
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimiser.step()
        self.done += 1
        self._update_average()
        return Loss(loss.item(), arcface.item(), drift.item())

    def _embed(self, pictures: Tensor) -> Tensor:
        """(B, 3, S, S) → (B, dim), with gradients as far down as the run has thawed the network."""
        # Batch norm stays in eval mode: a few thousand pictures make worse statistics than the start's.
        network = self.network.eval()
        thawed = self.done >= self.recipe.neck_first * self.steps
        with self.precision():
            with torch.set_grad_enabled(thawed):
                pooled = network.pooled(pictures)
            return network.embed(pooled)

    def tensors(self) -> State:
        """Everything that the next steps depend on, by name; `restore` takes it back."""
        state = {"done": torch.tensor(self.done), "head": self.head.weight.detach()}
        state |= prefixed("network", self.network.state_dict())
        state |= prefixed("average", self.average.state_dict())
        for number, moments in self.optimiser.state_dict()["state"].items():
            state |= prefixed(f"adam.{number}", moments)
        return state

    def restore(self, state: State) -> None:
        """Go on from what `tensors` gave."""
        self.done = int(state["done"])
        self.network.load_state_dict(under("network", state))
        self.average.load_state_dict(under("average", state))
        with torch.no_grad():
            self.head.weight.copy_(state["head"])
        optimiser = self.optimiser.state_dict()
        numbers = sorted({int(name.split(".")[1]) for name in state if name.startswith("adam.")})
        optimiser["state"] = {number: under(f"adam.{number}", state) for number in numbers}
        self.optimiser.load_state_dict(optimiser)

    def _set_rates(self) -> None:
        """The margin and the rates of the next step: functions of how many were done, so nothing has to be kept."""
        ramp = min(1.0, self.done / max(1.0, self.recipe.margin_ramp * self.steps))
        self.head.margin = self.recipe.margin * ramp
        factor = lr_factor(self.done, self.steps, self.recipe.warm_up)
        for group, settings in zip(self.optimiser.param_groups, self.groups, strict=True):
            group["lr"] = settings.rate * factor

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on a long memory would hold mostly the start, so the memory grows with the run.
        keep = min(self.recipe.ema, (1 + self.done) / (10 + self.done))
        for old, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
            old.lerp_(new, 1 - keep)


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
    classes apart that nobody trained on. Source: Park et al. 2019, arXiv:1904.05068 (relational distillation).
    """
    moved = (embeddings @ embeddings.T - start @ start.T).square()
    pairs = len(embeddings) * (len(embeddings) - 1)
    return (moved.sum() - moved.diagonal().sum()) / pairs


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that learn at one rate. decay: AdamW's, per step and rate."""

    parameters: list[nn.Parameter]
    rate: float
    decay: float


def parameter_groups(network: EmbeddingNetwork, head: ArcFace, recipe: Recipe) -> list[Group]:
    """AdamW's groups: each stage of the backbone slower than the one after it, the neck and the centres faster.

    Vectors (biases, batch norm) are not decayed. Frozen stages stop learning here.
    """
    backbone = network.backbone
    stages = [nn.ModuleList([backbone.conv_stem, backbone.bn1]), *backbone.blocks]
    stages.append(nn.ModuleList([backbone.conv_head, backbone.bn2]))
    groups: list[Group] = []
    for depth, stage in enumerate(stages):
        frozen = recipe.frozen_stages > 0 and depth <= recipe.frozen_stages
        stage.requires_grad_(not frozen)
        if not frozen:
            rate = recipe.backbone_rate * recipe.layer_decay ** (len(stages) - 1 - depth)
            groups += _by_decay(stage, rate, recipe.weight_decay)
    groups += _by_decay(network.pool, recipe.neck_rate, recipe.weight_decay)
    groups += _by_decay(network.neck, recipe.neck_rate, recipe.weight_decay)
    return [*groups, Group([head.weight], recipe.centre_rate, 0.0)]


def _by_decay(module: nn.Module, rate: float, decay: float) -> list[Group]:
    matrices = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in module.parameters() if parameter.ndim <= 1]
    return [group for group in (Group(matrices, rate, decay), Group(vectors, rate, 0.0)) if group.parameters]


def prefixed(prefix: str, state: State) -> State:
    """The tensors with `prefix.` before their names."""
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def under(prefix: str, state: State) -> State:
    """The tensors whose names begin with `prefix.`, without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in state.items() if name.startswith(f"{prefix}.")}


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

"""A training run's course: its pictures, its epochs, what it is judged on, and what is made of its weights."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from core.errors import BadCheckpoint, ModelNotFound
from ml import datasets
from ml.card import card_path
from ml.checkpoint import load_checkpoint
from ml.datasets import Dataset, Indices
from ml.evaluation.metrics import Metrics
from ml.evaluation.validation import judge, prepare, run, score, validation_sets
from ml.neck import initialise, settle
from ml.network import EmbeddingNetwork
from ml.runtime import has_native_bf16
from ml.training.batches import epoch_batches, steps_of
from ml.training.learner import Learner, State, blended, copied
from ml.training.recipe import Recipe

Settling = tuple[float, float]  # strength and emphasis, see ml.neck.settle


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch came to. loss and its parts: means; metrics: of the averaged weights, by validation set."""

    number: int
    size: int
    loss: float
    arcface: float
    drift: float
    metrics: dict[str, Metrics]

    @property
    def score(self) -> float:
        """What epochs are compared by; NaN without validation pictures."""
        return score(self.metrics)


@dataclass(slots=True)
class Watcher:
    """Whom a run keeps informed; each function may do nothing."""

    begin: Callable[[Dataset, int], None] = lambda dataset, steps: None
    step: Callable[[float], None] = lambda loss: None
    epoch: Callable[[Epoch], None] = lambda epoch: None


class Course:
    """A run's pictures and its learner: what is learnt from, what is judged on, and where it started."""

    def __init__(self, dataset: Dataset, recipe: Recipe, network: EmbeddingNetwork, device: torch.device) -> None:
        self.dataset, self.recipe, self.device = dataset, recipe, device
        self.bf16 = has_native_bf16(device)
        self.preprocessing = recipe.preprocessing
        others, unseen = datasets.hold_out(dataset, recipe.held_out_classes, recipe.seed)
        self.chosen, known = datasets.split(dataset, others, recipe.validation, recipe.seed)
        self.sets = validation_sets(dataset, known, unseen, self.preprocessing)
        self.network = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.baseline = self._judge(self.network, plain=True)
        self.labels: Indices = np.unique(dataset.labels[self.chosen], return_inverse=True)[1]
        start = self._start_vectors()
        self.start = copied(self.network)
        self.learner = Learner(
            self.network,
            recipe,
            labels=torch.from_numpy(self.labels),
            start=start,
            rivals=self._rivals(),
            steps=steps_of(len(self.chosen), recipe) * recipe.epochs,
            arithmetic=self.arithmetic,
        )

    def all_epochs(self, watcher: Watcher) -> tuple[list[Epoch], Epoch, State]:
        """Train to the end. Returns every epoch, the best one, and its averaged weights: backbone and neck together."""
        epochs: list[Epoch] = []
        best, best_state = None, {}
        for number, size in enumerate(self.recipe.sizes):
            epochs.append(self.epoch(number, size, watcher.step))
            watcher.epoch(epochs[-1])
            # Without validation pictures every score is NaN, and the last epoch is the one.
            if best is None or not epochs[-1].score <= best.score:
                best, best_state = epochs[-1], copied(self.learner.average)
        assert best is not None  # a recipe has at least one epoch
        return epochs, best, best_state

    def epoch(self, number: int, size: int, step: Callable[[float], None]) -> Epoch:
        """Train one epoch, number from 0, at this picture side, and judge the averaged weights."""
        losses = []
        for batch in epoch_batches(self.dataset, self.chosen, self.labels, self.recipe, epoch=number, size=size):
            losses.append(self.learner.step(batch))
            step(losses[-1].total)
        total, arcface, drift = (float(np.mean(part)) for part in zip(*map(astuple, losses), strict=True))
        return Epoch(number + 1, size, total, arcface, drift, self._judge(self.learner.average))

    def blend(self, trained: State) -> tuple[float, dict[str, Metrics]]:
        """Leave in `network` the best blend of the start and these weights; its share of them, and its metrics."""
        shares = self.recipe.blends if self.sets else (1.0,)
        found = {}
        for share in shares:
            self.network.load_state_dict(blended(self.start, trained, share))
            found[share] = self._judge(self.network)
        best = max(shares, key=lambda share: score(found[share]) if self.sets else 0.0)
        self.network.load_state_dict(blended(self.start, trained, best))
        return best, found[best]

    def settle(self) -> tuple[Settling, dict[str, Metrics]]:
        """Settle the neck of `network` as validation likes it best; how, and the metrics with it."""
        before, pooled = copied(self.network), self._pooled()
        settlings = self.recipe.settlings if self.sets else self.recipe.settlings[:1]
        found: dict[Settling, dict[str, Metrics]] = {}
        for settling in settlings:
            self._settled(before, pooled, settling)
            found[settling] = self._judge(self.network)
        best = max(settlings, key=lambda settling: score(found[settling]) if self.sets else 0.0)
        self._settled(before, pooled, best)
        return best, found[best]

    def _settled(self, before: State, pooled: torch.Tensor, settling: Settling) -> None:
        self.network.load_state_dict(before)
        strength, emphasis = settling
        few = np.bincount(self.dataset.folder_of_class()) <= self.recipe.broad
        broad = torch.from_numpy(few[self.dataset.folders[self.chosen]])
        neck, labels = self.network.neck.cpu(), torch.from_numpy(self.labels)
        settle(neck, pooled, labels, strength=strength, emphasis=emphasis, emphasised=broad)
        neck.to(self.device)

    def data(self) -> list[str]:
        """What was learnt from, in words."""
        counts = np.bincount(self.dataset.folders[self.chosen], minlength=len(self.dataset.folder_names))
        return [f"{name}: {count} pictures" for name, count in zip(self.dataset.folder_names, counts, strict=True)]

    def arithmetic(self) -> AbstractContextManager[object]:
        """bf16 where the hardware has it."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def _judge(self, network: EmbeddingNetwork, *, plain: bool = False) -> dict[str, Metrics]:
        return judge(network, self.sets, self.preprocessing, self.device, self.arithmetic, plain=plain)

    def _start_vectors(self) -> torch.Tensor:
        """Give the network its first projection if it has none, and say where it puts the training pictures."""
        pooled = self._pooled()
        if not self.network.trained_neck:
            initialise(self.network.neck, pooled, self.recipe.whitening)
        with torch.no_grad():
            vectors: torch.Tensor = torch.nn.functional.normalize(self.network.neck(pooled.to(self.device)))
        return vectors.cpu()

    def _pooled(self) -> torch.Tensor:
        """(N, features): the backbone's features of the training pictures, without variation."""
        pixels = prepare([self.dataset.pixels[index] for index in self.chosen], self.preprocessing)
        return run(self.network.pooled, pixels, self.preprocessing, self.device, self.arithmetic)

    def _rivals(self) -> torch.Tensor | None:
        """Which classes compete: all with all, or only those of one folder."""
        if self.recipe.compete_across_folders:
            return None
        first = np.unique(self.labels, return_index=True)[1]
        folder = self.dataset.folders[self.chosen][first]
        return torch.from_numpy(folder[:, None] == folder[None, :])


def load_start(weights: Path | None, recipe: Recipe) -> EmbeddingNetwork:
    """The network to begin with. Raises ModelNotFound, BadCheckpoint."""
    if weights is not None and card_path(weights).is_file():
        network, _ = load_checkpoint(weights)
        network.trained_neck = network.neck_kind == "projection"
        return network
    if weights is not None and not weights.is_file():
        raise ModelNotFound(f"There are no start weights at {weights}.")
    try:
        network = EmbeddingNetwork(recipe.architecture, recipe.dim, recipe.pooling, pretrained=weights is None)
        if weights is not None:
            network.load_backbone(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        if weights is None:
            raise ModelNotFound(_NO_HUB.format(recipe.architecture)) from error
        raise BadCheckpoint(f"{weights} does not hold the weights of a {recipe.architecture}.") from error
    except Exception as error:  # the hub's client raises many kinds; all mean that there are no weights
        raise ModelNotFound(_NO_HUB.format(recipe.architecture)) from error
    return network


_NO_HUB = "The pretrained weights of {} could not be fetched from the model hub; name a file with --start."

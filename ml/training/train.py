"""Training: ArcFace on class folders, held close to the weights it starts from.

The story from top to bottom: read and split; start from the backbone's own geometry; epochs; choose on validation
only; blend with the start; settle the neck; save. What the pieces gained: docs/experiments.md.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from core.settings import Settings
from core.settings import settings as configured
from ml import datasets
from ml.card import ModelCard, Provenance
from ml.checkpoint import now, save_checkpoint
from ml.evaluation.metrics import Metrics
from ml.runtime import pick_device
from ml.training.course import Course, Epoch, Watcher, load_start
from ml.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run. baseline: the start's plain features; metrics: the saved network; both by validation set."""

    checkpoint: Path
    card: ModelCard
    epochs: list[Epoch]
    best: Epoch
    blend: float
    baseline: dict[str, Metrics]
    metrics: dict[str, Metrics]
    skipped: list[datasets.Skipped] = field(default_factory=list)


def train(
    folders: Sequence[Path],
    out: Path,
    start_weights: Path | None,
    recipe: Recipe,
    *,
    settings: Settings | None = None,
    watcher: Watcher | None = None,
) -> Result:
    """Train on folders of class folders and write `out`/<name>.safetensors with its card.

    start_weights: a timm backbone's safetensors, or an Umbel checkpoint; None: timm's own, from the hub.
    Raises BadDataset, ModelNotFound, BadCheckpoint. The same seed gives the same weights on the same machine.
    """
    settings, watcher = settings or configured(), watcher or Watcher()
    torch.manual_seed(recipe.seed)
    dataset = datasets.load(folders, settings, side=max(256, recipe.size))
    course = Course(dataset, recipe, load_start(start_weights, recipe), pick_device(settings.device))
    watcher.begin(dataset, course.learner.steps)
    epochs, best, best_state = course.all_epochs(watcher)
    blend, _ = course.blend(best_state)
    settling, metrics = course.settle()
    provenance = Provenance(
        data=course.data(),
        start=start_weights.name if start_weights else f"timm {recipe.architecture}, from the hub",
        recipe=recipe.as_dict() | {"best_epoch": best.number, "blend": blend, "settling": settling},
        seed=recipe.seed,
        commit=commit(),
        created_at=now(),
    )
    checkpoint = out / f"{recipe.name}.safetensors"
    card = save_checkpoint(
        checkpoint,
        course.network,
        name=recipe.name,
        preprocessing=recipe.preprocessing,
        provenance=provenance,
        metrics={"validation": by_set(metrics), "start_features": by_set(course.baseline)},
    )
    return Result(checkpoint, card, epochs, best, blend, course.baseline, metrics, dataset.skipped)


def by_set(metrics: dict[str, Metrics]) -> dict[str, Any]:
    """Metrics for JSON."""
    return {name: one.as_dict() for name, one in metrics.items()}


def commit() -> str | None:
    """The commit of the code that runs, if it runs from a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None

"""Training: ArcFace on class folders, held close to the weights it starts from.

The story from top to bottom: read; find duplicates; split; start from the backbone's own geometry; epochs; choose on
validation only; blend with the start; settle the neck; calibrate; save. What the pieces gained: docs/experiments.md.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ml.card import ModelCard, Provenance
from ml.checkpoint import now, save_checkpoint
from ml.data.dataset import Dataset, load_dataset
from ml.data.duplicates import Leakage, find_duplicates
from ml.data.split import draw_split, write_split
from ml.devices import pick_device
from ml.evaluation import calibration, validation
from ml.evaluation.metrics import Metrics
from ml.network import EmbeddingNetwork
from ml.revision import commit
from ml.training.course import Course
from ml.training.curves import draw_curves
from ml.training.files import RunFiles
from ml.training.learner import State
from ml.training.progress import Epoch, StateFile, fingerprint
from ml.training.recipe import Recipe, Settling
from ml.training.start import find_start, load_start
from umbel.base.settings import Settings
from umbel.base.settings import settings as configured


@dataclass(slots=True)
class Watcher:
    """Whom a run keeps informed; each function may do nothing.

    reading: told how many files are read, of how many; looking: how many pictures the start has seen, of how many;
    begin: told the data set, what duplicates were found, and how many steps are done, of how many.
    """

    reading: Callable[[int, int], None] = lambda done, total: None
    looking: Callable[[int, int], None] = lambda done, total: None
    begin: Callable[[Dataset, Leakage, int, int], None] = lambda dataset, leakage, done, steps: None
    step: Callable[[float], None] = lambda loss: None
    epoch: Callable[[Epoch], None] = lambda epoch: None


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run. baseline: the start's plain features; metrics: the saved network; both by validation set."""

    files: RunFiles
    card: ModelCard
    epochs: list[Epoch]
    blend: float
    settling: Settling
    baseline: dict[str, Metrics]
    metrics: dict[str, Metrics]
    leakage: Leakage
    dataset: Dataset


def train(
    folders: Sequence[Path],
    out: Path,
    start_weights: Path | None,
    recipe: Recipe,
    *,
    fresh: bool = False,
    settings: Settings | None = None,
    watcher: Watcher | None = None,
) -> Result:
    """Train on folders of class folders and write `out`/<name>.safetensors with its card, split, curves and duplicates.

    start_weights: a timm backbone's safetensors, or an Umbel checkpoint; None: timm's own, from the hub, or else the
    shipped model. A run that was killed goes on where it was when it is started again with the same arguments, unless
    `fresh`.
    Raises BadDataset, ModelNotFound, BadCheckpoint; Conflict when `out` holds the state of another unfinished run.
    The same seed gives the same weights on the same machine, in one go or in several.
    """
    settings, watcher = settings or configured(), watcher or Watcher()
    torch.manual_seed(recipe.seed)
    files = RunFiles(out, recipe.name)
    start = find_start(start_weights, recipe)
    dataset = load_dataset(folders, settings, side=max(256, recipe.size), reading=watcher.reading)
    state = StateFile(files.state, fingerprint(recipe, dataset.sha256, _identity(start)))
    if fresh:
        state.remove()
    network = load_start(start, recipe, pick_device(settings.device))
    features = _start_features(network, dataset, recipe, watcher)
    leakage = find_duplicates(dataset, torch.nn.functional.normalize(features).numpy())
    dataset = leakage.grouped(dataset)
    split = draw_split(
        dataset, validation=recipe.validation, held_out_classes=recipe.held_out_classes, seed=recipe.seed
    )
    course = Course(dataset, split, recipe, network, features)
    course.resume(state)
    watcher.begin(dataset, leakage, len(course.progress.losses), recipe.members * course.steps_of_member)
    out.mkdir(parents=True, exist_ok=True)
    write_split(files.split, dataset, split, recipe.seed)
    leakage.write(files.duplicates, dataset, split.roles())
    if leakage.findings:
        leakage.contact_sheet(dataset).save(files.duplicates.with_suffix(".png"))
    trained = _run(course, state, files, watcher)
    result = _finish(course, trained, files, leakage, start)
    state.remove()
    return result


def _start_features(network: EmbeddingNetwork, dataset: Dataset, recipe: Recipe, watcher: Watcher) -> torch.Tensor:
    """(N, F): what the start says of every picture, from which duplicates, baseline and first projection follow."""
    total, seen = len(dataset.labels), 0

    def done(pictures: int) -> None:
        nonlocal seen
        seen += pictures
        watcher.looking(seen, total)

    return validation.pooled_features(network, dataset, np.arange(total), recipe.preprocessing, done)


def _run(course: Course, state: StateFile, files: RunFiles, watcher: Watcher) -> State:
    """All epochs, with the curves drawn anew after each."""

    steps = course.steps_of_member * course.recipe.members

    def epoch(done: Epoch) -> None:
        draw_curves(files.curves, course.progress, course.baseline, recipe=course.recipe, steps=steps)
        watcher.epoch(done)

    return course.all_epochs(state, watcher.step, epoch)


def _finish(course: Course, trained: State, files: RunFiles, leakage: Leakage, start: Path | None) -> Result:
    """Choose, settle, calibrate and save."""
    recipe, progress = course.recipe, course.progress
    best = [progress.best(member).number for member in range(recipe.members)]
    blend = course.blend(trained)
    settling, vectors = course.settle()
    metrics = validation.judge(course.sets, vectors)
    provenance = Provenance(
        data=course.data(),
        start=start.name if start else f"timm {recipe.architecture}, from the hub",
        recipe=recipe.as_dict() | {"best_epochs": best, "blend": blend, "settling": settling._asdict()},
        seed=recipe.seed,
        commit=commit(),
        created_at=now(),
    )
    card = save_checkpoint(
        files.checkpoint,
        course.network,
        name=recipe.name,
        preprocessing=recipe.preprocessing,
        provenance=provenance,
        metrics={"validation": by_set(metrics), "start_features": by_set(course.baseline)},
        calibration=calibration.fit_sets(course.sets, vectors, seed=recipe.seed),
    )
    return Result(files, card, progress.epochs, blend, settling, course.baseline, metrics, leakage, course.dataset)


def _identity(start: Path | None) -> str:
    """What names the weights of the start: their hash, wherever the file lies."""
    return hashlib.sha256(start.read_bytes()).hexdigest() if start else "hub"


def by_set(metrics: dict[str, Metrics]) -> dict[str, Any]:
    """Metrics for JSON."""
    return {name: one.as_dict() for name, one in metrics.items()}

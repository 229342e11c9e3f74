"""Training: ArcFace on class folders, held close to the weights it starts from.

What each of the steps below gained: docs/experiments.md.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ml.anchors import Anchors
from ml.card import ModelCard, Provenance
from ml.checkpoint import now, save_checkpoint
from ml.data.dataset import Dataset, load_dataset
from ml.data.duplicates import Leakage, find_duplicates
from ml.data.split import draw_split, write_split
from ml.devices import pick_device
from ml.evaluation import calibration, validation
from ml.evaluation.metrics import Metrics
from ml.neck import within_class_whitening
from ml.network import EmbeddingNetwork
from ml.revision import commit
from ml.training.curves import draw_curves
from ml.training.files import RunFiles
from ml.training.learner import State, copied
from ml.training.members import Setup, set_up, soup, train_members
from ml.training.progress import Epoch, Progress, StateFile, fingerprint
from ml.training.recipe import Recipe, WithinClassWhitening
from ml.training.start import find_start, load_start
from umbel.base.settings import Settings
from umbel.base.settings import settings as configured

Option = TypeVar("Option")


@dataclass(slots=True)
class Watcher:
    """What a run tells of itself; each function may do nothing.

    reading: told how many files are read, of how many; looking: how many images the start has seen, of how many;
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
    whitening: WithinClassWhitening
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
    include_hidden: bool = False,
    settings: Settings | None = None,
    watcher: Watcher | None = None,
) -> Result:
    """Train on folders of class folders and write `out`/<name>.safetensors with its card, split, curves and duplicates.

    start_weights: a timm backbone's safetensors, or an Umbel checkpoint; None: timm's own, from the hub, or else the
    shipped model. A run that was killed goes on where it was when it is started again with the same arguments, unless
    `fresh`. include_hidden: see `umbel_files.walking.walk`.
    Raises BadDataset, ModelNotFound, BadCheckpoint; Conflict when `out` holds the state of another unfinished run.
    The same seed gives the same weights on the same machine, in one go or in several.
    """
    settings, watcher = settings or configured(), watcher or Watcher()
    torch.manual_seed(recipe.seed)
    files = RunFiles(out, recipe.name)

    # Read the images, and see what the start makes of them.
    start = find_start(start_weights, recipe)
    side = max(256, recipe.size)
    dataset = load_dataset(
        folders, settings, side, watcher.reading, preprocessing=recipe.preprocessing, include_hidden=include_hidden
    )
    state = StateFile(files.state, fingerprint(recipe, dataset.sha256, _identity(start)))
    if fresh:
        state.remove()
    network = load_start(start, recipe, pick_device(settings.device))
    features = _start_features(network, dataset, watcher)

    # Split them so that no duplicates are parted.
    plain = torch.nn.functional.normalize(features)
    leakage = find_duplicates(dataset, plain.numpy())
    dataset = leakage.grouped(dataset)
    split = draw_split(
        dataset, validation=recipe.validation, held_out_classes=recipe.held_out_classes, seed=recipe.seed
    )
    setup = set_up(dataset, split, recipe, network, features)
    baseline = validation.judge(setup.sets, [plain[one.positions] for one in setup.sets])
    progress, tensors = state.load() or (Progress(), {})
    steps = setup.steps_of_member * recipe.members
    watcher.begin(dataset, leakage, len(progress.losses), steps)
    out.mkdir(parents=True, exist_ok=True)
    write_split(files.split, dataset, split, recipe.seed)
    leakage.write(files.duplicates, dataset, split.roles())
    if leakage.findings:
        leakage.contact_sheet(dataset).save(files.duplicates.with_suffix(".png"))

    # Train.
    def epoch(done: Epoch) -> None:
        draw_curves(files.curves, progress, baseline, recipe=recipe, steps=steps)
        watcher.epoch(done)

    members = train_members(setup, progress, tensors, state, step=watcher.step, epoch=epoch)

    # Make the most of the weights, as the validation images say; calibrate; save.
    blend = blend_with_start(setup, soup(members))
    whitening, vectors = whiten_within_classes(setup)
    metrics = validation.judge(setup.sets, vectors)
    chosen = {
        "best_epochs": [progress.best(member).number for member in range(recipe.members)],
        "blend": blend,
        "within_class_whitening": whitening._asdict(),
    }
    card = save_checkpoint(
        files.checkpoint,
        network,
        name=recipe.name,
        preprocessing=recipe.preprocessing,
        provenance=Provenance(
            data=_data(setup),
            start=start.name if start else f"timm {recipe.architecture}, from the hub",
            recipe=recipe.as_dict() | chosen,
            seed=recipe.seed,
            commit=commit(),
            created_at=now(),
        ),
        metrics={"validation": by_set(metrics), "start_features": by_set(baseline)},
        calibration=calibration.fit_sets(setup.sets, vectors, seed=recipe.seed, class_names=dataset.classes),
    )
    state.remove()
    return Result(files, card, progress.epochs, blend, whitening, baseline, metrics, leakage, dataset)


def _start_features(network: EmbeddingNetwork, dataset: Dataset, watcher: Watcher) -> Tensor:
    """(N, F): what the start sees in every image, from which duplicates, baseline and first projection follow."""
    total, seen = len(dataset.labels), 0

    def done(images: int) -> None:
        nonlocal seen
        seen += images
        watcher.looking(seen, total)

    return validation.pooled_features(network, dataset, np.arange(total), done)


def blend_with_start(setup: Setup, trained: State) -> float:
    """Leave in the network the blend of the start and these weights that validation likes best; the latter's share.

    Source: Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT).
    """
    network = setup.network

    def vectors(share: float) -> list[Tensor]:
        _load(network, blended(setup.start, trained, share))
        return setup.judged(network)

    best = _best_on_validation(setup, setup.recipe.blends, vectors)
    _load(network, blended(setup.start, trained, best))
    return best


def blended(start: State, trained: State, share: float) -> State:
    """Weights between the start (share 0) and the trained ones (1)."""
    return {
        name: torch.lerp(tensor, trained[name], share) if tensor.is_floating_point() else trained[name]
        for name, tensor in start.items()
    }


def whiten_within_classes(setup: Setup) -> tuple[WithinClassWhitening, list[Tensor]]:
    """Whiten the network's neck as validation likes it best, and add anchors; how, and the validation embeddings."""
    before, training = copied(setup.network), setup.pooled(setup.chosen)
    positions = validation.positions_of(setup.sets)
    judged = setup.pooled(positions)

    def vectors(whitening: WithinClassWhitening) -> list[Tensor]:
        _load(setup.network, before)
        _whiten(setup, training, whitening)
        return validation.of_sets(setup.sets, positions, setup.embedded(judged))

    best = _best_on_validation(setup, setup.recipe.within_class_whitenings, vectors)
    return best, vectors(best)


def _whiten(setup: Setup, training: Tensor, whitening: WithinClassWhitening) -> None:
    """training: (N, features) of the training images."""
    network, labels, dataset = setup.network, torch.from_numpy(setup.labels), setup.dataset
    few = np.bincount(dataset.folder_of_class()) <= setup.recipe.broad
    broad = torch.from_numpy(few[dataset.folders[setup.chosen]])
    strength, emphasis, pull = whitening
    within_class_whitening(network.neck.cpu(), training, labels, strength=strength, emphasis=emphasis, emphasized=broad)
    network.neck.to(setup.device)
    if pull and broad.any():
        network.anchors = Anchors.at_means(setup.embedded(training), labels, broad, pull).to(setup.device)


def _best_on_validation(setup: Setup, options: Sequence[Option], vectors: Callable[[Option], list[Tensor]]) -> Option:
    """The option whose embeddings validation likes best; the first where there is nothing to judge on."""
    if not setup.sets or len(options) == 1:
        return options[0]
    return max(options, key=lambda option: validation.score(validation.judge(setup.sets, vectors(option))))


def _load(network: EmbeddingNetwork, weights: State) -> None:
    network.anchors = None  # they come last, with the whitening
    network.load_state_dict(weights)


def _data(setup: Setup) -> list[str]:
    """What was learnt from, in words."""
    dataset = setup.dataset
    counts = np.bincount(dataset.folders[setup.chosen], minlength=len(dataset.folder_names))
    return [f"{name}: {count} pictures" for name, count in zip(dataset.folder_names, counts, strict=True)]


def _identity(start: Path | None) -> str:
    """What names the weights of the start: their hash, wherever the file lies."""
    return hashlib.sha256(start.read_bytes()).hexdigest() if start else "hub"


def by_set(metrics: dict[str, Metrics]) -> dict[str, Any]:
    """Metrics for JSON."""
    return {name: one.as_dict() for name, one in metrics.items()}

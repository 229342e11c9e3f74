"""Training: ArcFace on class folders, held close to the weights it starts from.

What each of the steps below gained: docs/experiments.md.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ml.card import ModelCard, Provenance
from ml.checkpoint import now, save_checkpoint
from ml.data.dataset import Dataset, load_dataset
from ml.data.duplicates import Leakage, find_duplicates
from ml.data.image_files import ImageFiles
from ml.data.split import Split, draw_split, refit_split, split_by_roles, write_split
from ml.devices import pick_device
from ml.evaluation import calibration, validation
from ml.evaluation.metrics import Metrics
from ml.evaluation.validation import ValidationSet
from ml.network import EmbeddingNetwork
from ml.revision import commit
from ml.training.curves import draw_curves
from ml.training.files import RunFiles
from ml.training.finish import finish
from ml.training.fit import fit, for_refit, refit
from ml.training.head_memory import check_head
from ml.training.learner import under
from ml.training.members import Setup, set_up, soup
from ml.training.processes import processes_for
from ml.training.progress import Epoch, Progress, StateFile, fingerprint
from ml.training.recipe import Recipe
from ml.training.start import find_start, load_start, origin, resume_start
from umbel.base.machine import cores
from umbel.base.settings import Settings
from umbel.base.settings import settings as configured

REFITTED = (
    "refitted: when validation had chosen, trained once more from the start on all {pictures:,} pictures, {epochs} "
    "epoch(s); metrics and calibration are those of the network before, which had not seen what it was judged on"
)


@dataclass(slots=True)
class Watcher:
    """What a run tells of itself; each function may do nothing.

    reading: told how many files are read, of how many; looking: how many images the start has seen, of how many;
    begin: told the data set, what duplicates were found, and how many steps are done, of how many; remark: what else
    is to be known before the first step; refit: told on how many images, how many steps are done, of how many.
    """

    reading: Callable[[int, int], None] = lambda done, total: None
    looking: Callable[[int, int], None] = lambda done, total: None
    begin: Callable[[Dataset, Leakage, int, int], None] = lambda dataset, leakage, done, steps: None
    remark: Callable[[str], None] = lambda text: None
    step: Callable[[float], None] = lambda loss: None
    epoch: Callable[[Epoch], None] = lambda epoch: None
    refit: Callable[[int, int, int], None] = lambda images, done, steps: None


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run. baseline: the start's plain features; metrics: the network that was chosen; both by set."""

    files: RunFiles
    card: ModelCard
    epochs: list[Epoch]
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
    hold_out: Sequence[Path] = (),
    domain: str | None = None,
    refitted: bool = False,
    fresh: bool = False,
    include_hidden: bool = False,
    processes: int | None = None,
    workers: int | None = None,
    settings: Settings | None = None,
    watcher: Watcher | None = None,
) -> Result:
    """Train on folders of class folders, and lists of labels; what goes to `out`: see RunFiles.

    start_weights: a timm backbone's safetensors, or an Umbel checkpoint; None: timm's own, from the hub, or else the
    shipped model. hold_out: folders of class folders that are only judged on, and that nothing is chosen by. domain:
    what the model is for, by its card. refitted: when validation has chosen the number of epochs, train once more from
    the start on all images, but those of `hold_out`, and save that. A run that was killed goes on where it
    was when it is started again with the same arguments, unless `fresh`. include_hidden: see
    `umbel_files.walking.walk`. processes: that share each batch, on GPUs one each; None: as many as there are GPUs.
    workers: processes that decode images and make views, for each of these; 0: threads do; None: threads where one
    process trains and has room to keep the images decoded.
    Raises BadDataset, ModelNotFound, BadCheckpoint, InvalidInput; Conflict when `out` holds the state of another
    unfinished run. The same seed gives the same weights on the same machine, in one go or in several.
    """
    settings, watcher = settings or configured(), watcher or Watcher()
    torch.manual_seed(recipe.seed)
    files = RunFiles(out, recipe.name)

    # Read the images, and see what the start makes of them.
    device = pick_device(settings.device)
    processes = processes_for(device, processes, recipe.batch_size)
    if fresh:
        _forget(files)
    start = None if files.state.exists() else find_start(start_weights, recipe)
    # Helpers are sent the names of the files, not what they hold decoded.
    keep = None if workers is None and processes == 1 else workers == 0 and processes == 1
    options: dict[str, Any] = {"include_hidden": include_hidden, "keep": keep, "preprocessing": recipe.preprocessing}
    dataset = load_dataset(folders, settings, max(256, recipe.size), watcher.reading, aside=hold_out, **options)
    state = StateFile(files.state, fingerprint(recipe, _labeled(dataset), _asked_for(start_weights)))
    progress, tensors = state.load() or (Progress(), {})
    network = resume_start(under("start", tensors), recipe, device) if tensors else load_start(start, recipe, device)
    progress.origin = progress.origin if tensors else origin(start, network)
    features = _start_features(network, dataset, watcher)

    # Split them so that no duplicates are parted.
    plain = torch.nn.functional.normalize(features)
    leakage = find_duplicates(dataset, plain.numpy())
    dataset = leakage.grouped(dataset)
    split = _split(dataset, recipe)
    refitted &= len(split.validation) + len(split.held_out) > 0
    setup = set_up(dataset, split, recipe, network, features)
    setup = replace(setup, workers=_workers(dataset, workers, processes))
    baseline = validation.judge(setup.sets, [plain[one.positions] for one in setup.sets])
    steps = setup.steps_of_member * recipe.members
    watcher.begin(dataset, leakage, len(progress.losses), steps)
    _remark(setup, watcher, refitted=refitted)
    _write_roles(files, dataset, split, leakage, recipe.seed)
    _draw_duplicates(files, dataset, leakage)

    # Train.
    def epoch(done: Epoch) -> None:
        draw_curves(files.curves, progress, baseline, recipe=recipe, steps=steps)
        watcher.epoch(done)

    shared: dict[str, Any] = {"processes": processes, "step": watcher.step}
    members = fit(setup, progress, tensors, state, epoch=epoch, **shared)

    # Make the most of the weights; judge and calibrate what comes of it.
    finish(setup, soup(members))
    vectors = setup.judged(network)
    metrics = validation.judge(setup.sets, vectors)
    reported = _reported(setup.sets, metrics, baseline)
    fitted = calibration.fit_sets(setup.sets, vectors, seed=recipe.seed, class_names=dataset.classes)
    chosen: dict[str, Any] = {"best_epochs": [progress.best(member).number for member in range(recipe.members)]}

    # Once more on all images, if that is wanted; nothing but what was held out can judge it then.
    if refitted:
        split = refit_split(dataset)
        setup = for_refit(setup, split, progress, features)
        refit(setup, StateFile(files.refit_state, state.run), begin=watcher.refit, **shared)
        chosen["refitted"] = {"epochs": setup.recipe.epochs, "pictures": len(setup.chosen)}
        reported |= {"refitted": by_set(validation.judge(setup.sets, setup.judged(network)))} if setup.sets else {}
        _write_roles(files, dataset, split, leakage, recipe.seed)

    card = save_checkpoint(
        files.checkpoint,
        network,
        name=recipe.name,
        domain=domain,
        preprocessing=recipe.preprocessing,
        provenance=Provenance(
            data=_data(setup),
            start=progress.origin[0],
            start_sha256=progress.origin[1],
            recipe=recipe.as_dict() | chosen,
            seed=recipe.seed,
            commit=commit(),
            created_at=now(),
            note=REFITTED.format(**chosen["refitted"]) if refitted else "",
        ),
        metrics=reported,
        calibration=fitted,
    )
    _forget(files)
    return Result(files, card, progress.epochs, baseline, metrics, leakage, dataset)


def _split(dataset: Dataset, recipe: Recipe) -> Split:
    if dataset.roles:
        return split_by_roles(dataset)
    shares: dict[str, Any] = {"validation": recipe.validation, "held_out_classes": recipe.held_out_classes}
    return draw_split(dataset, **shares, seed=recipe.seed)


def _workers(dataset: Dataset, wanted: int | None, processes: int) -> int:
    """Processes that make the views, for each process that trains; 0 where images are kept decoded: threads do."""
    if not isinstance(dataset.pixels, ImageFiles):
        return 0
    return max(1, cores() // processes) if wanted is None else wanted


def _draw_duplicates(files: RunFiles, dataset: Dataset, leakage: Leakage) -> None:
    if leakage.findings:
        leakage.contact_sheet(dataset).save(files.duplicates.with_suffix(".png"))


def _write_roles(files: RunFiles, dataset: Dataset, split: Split, leakage: Leakage, seed: int) -> None:
    files.out.mkdir(parents=True, exist_ok=True)
    write_split(files.split, dataset, split, seed)
    leakage.write(files.duplicates, dataset, split.roles())


def _forget(files: RunFiles) -> None:
    """Remove the states; that of the refit first, since without the other it is of no use."""
    files.refit_state.unlink(missing_ok=True)
    files.state.unlink(missing_ok=True)


def _remark(setup: Setup, watcher: Watcher, *, refitted: bool) -> None:
    """Tell what is to be known before the first step. Raises InvalidInput where the classes have no room."""
    dataset = setup.dataset
    learnt = dataset.labels[~dataset.is_aside] if refitted else setup.labels  # a refit learns the held-out classes too
    if isinstance(dataset.pixels, ImageFiles):
        watcher.remark("Pictures are not kept decoded: they are decoded again in every epoch.")
    if told := check_head(len(np.unique(learnt)), setup.recipe, setup.device):
        watcher.remark(told)


def _start_features(network: EmbeddingNetwork, dataset: Dataset, watcher: Watcher) -> Tensor:
    """(N, F): what the start sees in every image, from which duplicates, baseline and first projection follow."""
    total, seen = len(dataset.labels), 0

    def done(images: int) -> None:
        nonlocal seen
        seen += images
        watcher.looking(seen, total)

    return validation.pooled_features(network, dataset, np.arange(total), done)


def _data(setup: Setup) -> list[str]:
    """What was learnt from, in words."""
    dataset = setup.dataset
    counts = np.bincount(dataset.folders[setup.chosen], minlength=len(dataset.folder_names))
    names = enumerate(dataset.folder_names)
    return [f"{name}: {counts[index]} pictures" for index, name in names if index not in dataset.aside]


def _reported(
    sets: Sequence[ValidationSet], metrics: dict[str, Metrics], baseline: dict[str, Metrics]
) -> dict[str, Any]:
    """For the card: the sets that were chosen by, those that were not, and what the start reaches on all of them."""
    known, aside = (
        {one.name: metrics[one.name] for one in sets if one.chooses == chooses} for chooses in (True, False)
    )
    held_out = {"held_out": by_set(aside)} if aside else {}
    return {"validation": by_set(known), **held_out, "start_features": by_set(baseline)}


def _labeled(dataset: Dataset) -> Iterator[str]:
    """Each image as the run knows it: its bytes, its class, its part of the split where a list or a folder fixes it."""
    roles = dataset.roles or [None] * len(dataset.labels)
    for sha256, label, role, aside in zip(dataset.sha256, dataset.labels, roles, dataset.is_aside, strict=True):
        yield f"{sha256} {label} {'aside' if aside else role}"


def _asked_for(start: Path | None) -> str:
    """What names the start that was asked for: the file's hash, wherever it lies, or what there is without a file."""
    return hashlib.sha256(start.read_bytes()).hexdigest() if start and start.is_file() else str(start)


def by_set(metrics: dict[str, Metrics]) -> dict[str, Any]:
    """Metrics for JSON."""
    return {name: one.as_dict() for name, one in metrics.items()}

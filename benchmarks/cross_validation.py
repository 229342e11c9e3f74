"""How good the recipe is: k-fold validation on a folder of broad classes, and on species that training never saw.

Run `python -m benchmarks.cross_validation BROAD SPECIES --start WEIGHTS`. Each run holds out one fold of BROAD and one
half of SPECIES, trains on all the rest with the recipe's first choices (nothing is chosen on what is judged), and
compares to the start's own features at the same resolution. Finished runs are kept, so it may be stopped and repeated.
`--jobs` runs go on side by side: worth it beside a GPU, which waits for the images that a run prepares.
"""

import argparse
import dataclasses
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import RESULTS, write
from ml.data.dataset import Dataset, Indices, load_dataset
from ml.data.duplicates import find_duplicates
from ml.data.split import Split, folds
from ml.devices import pick_device
from ml.evaluation import validation
from ml.evaluation.metrics import measure
from ml.training.finish import blend_with_start, whiten_within_classes
from ml.training.learner import State
from ml.training.members import set_up, soup, train_members
from ml.training.recipe import RECIPES, Recipe
from ml.training.start import load_start
from umbel.base.settings import Settings

FOLDS, DRAWS, EACH = 5, 5, 20
SHOWN = ("r_at_1", "map_at_r", "knn_macro_f1", "eer")


BySet = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Run:
    """What one run came to, by set: before (the start's features), after, and each member of the soup alone."""

    seed: int
    fold: int
    minutes: float
    before: BySet
    after: BySet
    alone: list[BySet]


def splits(dataset: Dataset, seed: int, fold: int) -> Split:
    """Fold `fold` of the first folder, and the half of the second folder's classes whose turn it is."""
    broad, species = (np.flatnonzero(dataset.folders == folder) for folder in (0, 1))
    known = folds(dataset, broad, FOLDS, seed)[fold]
    kinds = np.random.default_rng(seed).permutation(np.unique(dataset.labels[species]))
    half = kinds[: len(kinds) // 2] if fold % 2 == 0 else kinds[len(kinds) // 2 :]
    unseen = species[np.isin(dataset.labels[species], half)]
    held = np.concatenate([known, unseen])
    # What shows the same thing as a held-out picture may not be learnt from either.
    train = np.flatnonzero(~np.isin(dataset.groups, dataset.groups[held]))
    return Split(train, known, unseen)


def judge(dataset: Dataset, part: Split, known: np.ndarray, unseen: np.ndarray) -> BySet:
    """known, unseen: (N, D) unit embeddings of the two held-out parts."""
    labels = dataset.labels[part.held_out]
    draws = [_draw(labels, draw) for draw in range(DRAWS)]
    few = [measure(unseen[rows], labels[rows]).as_dict(6) for rows in draws]
    return {
        "held-out pictures": measure(known, dataset.labels[part.validation]).as_dict(),
        "held-out species": measure(unseen, labels).as_dict(),
        f"held-out species, {EACH} pictures each": {
            name: round(float(np.mean([one[name] for one in few])), 4) for name in few[0]
        },
    }


def _draw(labels: Indices, draw: int) -> Indices:
    rng = np.random.default_rng(draw)
    kinds = [np.flatnonzero(labels == kind) for kind in np.unique(labels)]
    return np.concatenate([rng.choice(rows, min(EACH, len(rows)), replace=False) for rows in kinds])


def run(dataset: Dataset, features: torch.Tensor, recipe: Recipe, start: Path, fold: int) -> Run:
    began = time.monotonic()
    torch.manual_seed(recipe.seed)
    part = splits(dataset, recipe.seed, fold)
    nothing = np.empty(0, np.intp)
    network = load_start(start, recipe, pick_device("auto"))
    plain = torch.nn.functional.normalize(features).numpy()
    before = judge(dataset, part, plain[part.validation], plain[part.held_out])
    setup = set_up(dataset, Split(part.train, nothing, nothing), recipe, network, features)
    members = train_members(setup)

    def finished(weights: State) -> BySet:
        blend_with_start(setup, weights)
        whiten_within_classes(setup)
        known, unseen = (setup.embedded(setup.pooled(rows)).numpy() for rows in (part.validation, part.held_out))
        return judge(dataset, part, known, unseen)

    after = finished(soup(members))
    minutes = round((time.monotonic() - began) / 60, 1)
    alone = [finished(member) for member in members] if recipe.members > 1 else [after]
    return Run(recipe.seed, fold, minutes, before, after, alone)


def summary(runs: list[Run]) -> dict[str, object]:
    """Mean over the runs of each figure, with a 95 % interval of that mean (normal, over runs)."""
    found: dict[str, object] = {}
    for name in runs[0].after:
        for figure in SHOWN:
            after = np.array([one.after[name][figure] for one in runs])
            gain = after - [one.before[name][figure] for one in runs]
            alone = np.array([member[name][figure] for one in runs for member in one.alone])
            found[f"{name}: {figure}"] = {
                "after": _interval(after),
                "gain": _interval(gain),
                "one member": _interval(alone),
            }
    return found


def _interval(values: np.ndarray) -> dict[str, float]:
    mean = float(values.mean())
    if len(values) < 2:
        return {"mean": round(mean, 4)}
    reach = float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))
    return {"mean": round(mean, 4), "low": round(mean - reach, 4), "high": round(mean + reach, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("broad", type=Path)
    parser.add_argument("species", type=Path)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(FOLDS)))
    parser.add_argument("--members", type=int, default=RECIPES["b0"].members, help="fewer are quicker, and worse")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    given = parser.parse_args()
    base = RECIPES["b0"]
    recipe = dataclasses.replace(base, members=given.members, blends=base.blends[:1])
    recipe = dataclasses.replace(recipe, within_class_whitenings=base.within_class_whitenings[:1])
    question = f"cross_validation_{given.members}"
    kept = RESULTS / f"{question}.json"
    runs = [Run(**one) for one in json.loads(kept.read_text())["runs"]] if kept.exists() else []
    done = {(one.seed, one.fold) for one in runs}
    # A fold of every seed before the next fold: stopped early, the intervals are over seeds all the same.
    wanted = [(seed, fold) for fold in given.folds for seed in given.seeds if (seed, fold) not in done]
    device = device_name()
    for one in all_runs(recipe, given.broad, given.species, given.start, wanted, jobs=given.jobs):
        runs.append(one)
        runs.sort(key=lambda run: (run.seed, run.fold))
        write(question, {"device": device, "summary": summary(runs), "runs": [asdict(run) for run in runs]})


@dataclass(frozen=True)
class Material:
    """What every run needs. Set once in the parent, so that forked children share its pictures."""

    dataset: Dataset
    features: np.ndarray  # (N, F), the start's, pooled


material: Material


def all_runs(
    recipe: Recipe, broad: Path, species: Path, start: Path, wanted: list[tuple[int, int]], *, jobs: int
) -> Iterator[Run]:
    """Each run as it is done, `jobs` of them side by side.

    Children are forked, to share the pictures. So nothing here may compute with torch before the last of them is:
    neither OpenMP's threads nor a GPU outlive a fork, and a child that needs them would wait for ever.
    """
    global material  # noqa: PLW0603
    dataset = load_dataset([broad, species], Settings(), side=256, preprocessing=recipe.preprocessing)
    material = Material(dataset, np.empty(0))
    features, groups = next(_in_children(_features_and_groups, [(recipe, start)], jobs=1))
    material = Material(dataclasses.replace(dataset, groups=groups), features)
    work = [(dataclasses.replace(recipe, seed=seed), start, fold) for seed, fold in wanted]
    yield from _in_children(_run, work, jobs=jobs)


def _in_children(work: Callable[..., Any], arguments: list[tuple[Any, ...]], *, jobs: int) -> Iterator[Any]:
    threads = max(1, (os.cpu_count() or 1) // jobs)
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, fork, torch.set_num_threads, (threads,)) as pool:
        for done in as_completed([pool.submit(work, *one) for one in arguments]):
            yield done.result()


def _features_and_groups(recipe: Recipe, start: Path) -> tuple[np.ndarray, Indices]:
    dataset = material.dataset
    network = load_start(start, recipe, pick_device("auto"))
    features = validation.pooled_features(network, dataset, np.arange(len(dataset.labels)))
    duplicates = find_duplicates(dataset, torch.nn.functional.normalize(features).numpy())
    return features.numpy(), duplicates.grouped(dataset).groups


def _run(recipe: Recipe, start: Path, fold: int) -> Run:
    return run(material.dataset, torch.from_numpy(material.features), recipe, start, fold)


def device_name() -> str:
    """Of the GPU if there is one, asked in a child so that this process stays able to fork."""
    return str(next(_in_children(_device_name, [()], jobs=1)))


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    main()

"""How good the recipe is on what a run has not seen: pictures, classes and whole domains.

Run `python -m benchmarks.cross_validation --start WEIGHTS --pictures FLOWERS5 --classes OXFORD51 --domains DIR…`. Each
run holds out one fold of five of the pictures in each folder of --pictures, one half of the classes in each of
--classes, and every fifth of --domains whole; it trains on all the rest with one recipe, so that nothing is
chosen on what is judged. Folders of --unseen are never trained on and judged by every run;
those of --taught are trained on by every run and not judged. Each held-out set
is searched within itself, and compared with the start's own features of the same images in the same run. Finished runs
are kept, so it may be stopped and repeated. `--jobs` runs go on side by side: worth it beside a GPU, which waits for
the images that a run prepares.
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
from ml.training.finish import finish
from ml.training.learner import State
from ml.training.members import set_up, soup, train_members
from ml.training.recipe import RECIPES, Recipe, changed
from ml.training.start import load_start
from umbel.base.settings import Settings

FOLDS = 5
SHOWN = ("r_at_1", "map_at_r", "knn_macro_f1", "eer")


ROLES = {
    "pictures": "a fifth of the pictures is held out at a time",
    "classes": "a half of the classes is held out at a time",
    "domains": "a fifth of these folders is held out whole at a time",
    "unseen": "folders that are never trained on",
    "taught": "folders that every run is trained on",
}

BySet = dict[str, dict[str, float]]
Held = dict[str, Indices]  # the positions of each set that a run is judged on


@dataclass(frozen=True)
class Run:
    """What one run came to, by set: before (the start's features), after, and each member of the soup alone."""

    seed: int
    fold: int
    minutes: float
    before: BySet
    after: BySet
    alone: list[BySet]


@dataclass(frozen=True)
class Folders:
    """What is done with each folder, by its position."""

    pictures: tuple[int, ...]
    classes: tuple[int, ...]
    domains: tuple[int, ...]
    unseen: tuple[int, ...]
    taught: tuple[int, ...]


def held_out(dataset: Dataset, folders: Folders, seed: int, fold: int) -> Held:
    """What a run does not learn from, by folder."""
    rng = np.random.default_rng(seed)
    held: Held = {}
    for folder in folders.pictures:
        held[dataset.folder_names[folder]] = folds(dataset, _of(dataset, folder), FOLDS, seed)[fold]
    for folder in folders.classes:
        rows = _of(dataset, folder)
        kinds = rng.permutation(np.unique(dataset.labels[rows]))
        half = kinds[: len(kinds) // 2] if fold % 2 == 0 else kinds[len(kinds) // 2 :]
        held[dataset.folder_names[folder]] = rows[np.isin(dataset.labels[rows], half)]
    order = rng.permutation(len(folders.domains))
    whole = [folders.domains[number] for number in order[fold::FOLDS]]
    return held | {dataset.folder_names[folder]: _of(dataset, folder) for folder in (*whole, *folders.unseen)}


def _of(dataset: Dataset, folder: int) -> Indices:
    return np.flatnonzero(dataset.folders == folder)


def judge(dataset: Dataset, held: Held, vectors: dict[str, np.ndarray]) -> BySet:
    """vectors: (N, D) unit embeddings of each set."""
    return {name: measure(vectors[name], dataset.labels[rows]).as_dict() for name, rows in held.items()}


def run(given: "Material", recipe: Recipe, start: Path, fold: int) -> Run:
    dataset, features = given.dataset, torch.from_numpy(given.features)
    began = time.monotonic()
    torch.manual_seed(recipe.seed)
    held = held_out(dataset, given.folders, recipe.seed, fold)
    # What shows the same thing as a held-out picture may not be learnt from either.
    aside = np.concatenate([*held.values()])
    train = np.flatnonzero(~np.isin(dataset.groups, dataset.groups[aside]))
    nothing = np.empty(0, np.intp)
    network = load_start(start, recipe, pick_device("auto"))
    plain = torch.nn.functional.normalize(features).numpy()
    before = judge(dataset, held, {name: plain[rows] for name, rows in held.items()})
    setup = set_up(dataset, Split(train, nothing, nothing), recipe, network, features)
    members = train_members(setup)

    def finished(weights: State) -> BySet:
        finish(setup, weights)
        return judge(dataset, held, {name: setup.embedded(setup.pooled(rows)).numpy() for name, rows in held.items()})

    after = finished(soup(members))
    minutes = round((time.monotonic() - began) / 60, 1)
    alone = [finished(member) for member in members] if recipe.members > 1 else [after]
    return Run(recipe.seed, fold, minutes, before, after, alone)


def summary(runs: list[Run]) -> dict[str, object]:
    """Mean over the runs of each set's figures, and over the sets, with 95 % intervals of the means (normal)."""
    names = sorted({name for one in runs for name in one.after})
    found: dict[str, object] = {}
    for figure in SHOWN:
        gains = []
        for name in names:
            judged = [one for one in runs if name in one.after]
            after = np.array([one.after[name][figure] for one in judged])
            gain = after - [one.before[name][figure] for one in judged]
            alone = np.array([member[name][figure] for one in judged for member in one.alone])
            gains.append(float(gain.mean()))
            means = {"after": _interval(after), "gain": _interval(gain), "one member": _interval(alone)}
            found[f"{name}: {figure}"] = means
        found[f"all sets: {figure}"] = {"gain": _interval(np.array(gains)), "least gain": round(min(gains), 4)}
    return found


def _interval(values: np.ndarray) -> dict[str, float]:
    mean = float(values.mean())
    if len(values) < 2:
        return {"mean": round(mean, 4)}
    reach = float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))
    return {"mean": round(mean, 4), "low": round(mean - reach, 4), "high": round(mean + reach, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=Path, required=True)
    for role, what in ROLES.items():
        parser.add_argument(f"--{role}", type=Path, nargs="+", default=[], metavar="FOLDER", help=what)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(FOLDS)))
    parser.add_argument("--members", type=int, default=RECIPES["b0"].members, help="fewer are quicker, and worse")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="NAME=VALUE", help="of the recipe"
    )
    parser.add_argument("--name", default="b0", help="of the file that keeps the runs")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    given = parser.parse_args()
    recipe = changed(dataclasses.replace(RECIPES["b0"], members=given.members), given.settings)
    question = f"cross_validation_{given.name}"
    kept = RESULTS / f"{question}.json"
    runs = [Run(**one) for one in json.loads(kept.read_text())["runs"]] if kept.exists() else []
    done = {(one.seed, one.fold) for one in runs}
    # A fold of every seed before the next fold: stopped early, the intervals are over seeds all the same.
    wanted = [(seed, fold) for fold in given.folds for seed in given.seeds if (seed, fold) not in done]
    device = device_name()
    paths = [path for role in ROLES for path in vars(given)[role]]
    numbers = iter(range(len(paths)))
    folders = Folders(**{role: tuple(next(numbers) for _ in vars(given)[role]) for role in ROLES})
    for one in all_runs(recipe, paths, folders, given.start, wanted, jobs=given.jobs):
        runs.append(one)
        runs.sort(key=lambda run: (run.seed, run.fold))
        write(question, {"device": device, "summary": summary(runs), "runs": [asdict(run) for run in runs]})


@dataclass(frozen=True)
class Material:
    """What every run needs. Set once in the parent, so that forked children share its pictures."""

    dataset: Dataset
    features: np.ndarray  # (N, F), the start's, pooled
    folders: Folders


material: Material


def all_runs(
    recipe: Recipe, paths: list[Path], folders: Folders, start: Path, wanted: list[tuple[int, int]], *, jobs: int
) -> Iterator[Run]:
    """Each run as it is done, `jobs` of them side by side.

    Children are forked, to share the pictures. So nothing here may compute with torch before the last of them is:
    neither OpenMP's threads nor a GPU outlive a fork, and a child that needs them would wait for ever.
    """
    global material  # noqa: PLW0603
    dataset = load_dataset(paths, Settings(), side=256, preprocessing=recipe.preprocessing)
    material = Material(dataset, np.empty(0), folders)
    features, groups = next(_in_children(_features_and_groups, [(recipe, start)], jobs=1))
    material = Material(dataclasses.replace(dataset, groups=groups), features, folders)
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
    return run(material, recipe, start, fold)


def device_name() -> str:
    """Of the GPU if there is one, asked in a child so that this process stays able to fork."""
    return str(next(_in_children(_device_name, [()], jobs=1)))


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    main()

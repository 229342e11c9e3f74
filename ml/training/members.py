"""The members of a run: networks trained from one start, each in another order and on other views.

The mean of their weights is better than any of them. Source: Wortsman et al. 2022, arXiv:2203.05482 (model soups).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ml.data.dataset import Dataset, Indices
from ml.data.split import Split
from ml.evaluation import validation
from ml.evaluation.validation import ValidationSet
from ml.neck import initialize
from ml.network import EmbeddingNetwork
from ml.training.batches import epoch_batches, steps_of, view_loader
from ml.training.group import ALONE, Group
from ml.training.learner import Learner, State, copied, prefixed, under
from ml.training.loaders import Loader
from ml.training.progress import Epoch, Progress, StateFile
from ml.training.recipe import Recipe

SAVE_EVERY = 60.0  # seconds of work that a kill may cost; more where saving itself takes long


@dataclass(frozen=True, slots=True)
class Setup:
    """What the members have in common.

    network: on its device; its weights change with what is trained or judged. chosen: (N,) the training images'
    positions; labels: (N,) their classes, from 0; start: the weights that each member starts from; start_vectors:
    (N, dim), where they put the training images; sets: what is judged on.
    """

    dataset: Dataset
    recipe: Recipe
    network: EmbeddingNetwork
    chosen: Indices
    labels: Indices
    start: State
    start_vectors: Tensor
    sets: list[ValidationSet]
    workers: int = 0  # processes that make the views; 0: threads

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def steps_an_epoch(self) -> int:
        return steps_of(len(self.chosen), self.recipe)

    @property
    def steps_of_member(self) -> int:
        """Steps that a member takes when it has all its epochs."""
        return self.steps_an_epoch * self.recipe.epochs

    def pooled(self, positions: Indices, network: EmbeddingNetwork | None = None) -> Tensor:
        """(N, features): what a network, else `network` as it now is, sees in images of the dataset."""
        return validation.pooled_features(network or self.network, self.dataset, positions)

    def embedded(self, pooled: Tensor) -> Tensor:
        """(N, dim) unit length: what `network`, as it now is, makes of pooled features."""
        return validation.embeddings(self.network, pooled, self.device)

    def judged(self, network: EmbeddingNetwork) -> list[Tensor]:
        """A network's embeddings of each validation set."""
        positions = validation.positions_of(self.sets)
        vectors = validation.embeddings(network, self.pooled(positions, network), self.device)
        return validation.of_sets(self.sets, positions, vectors)


def set_up(dataset: Dataset, split: Split, recipe: Recipe, network: EmbeddingNetwork, features: Tensor) -> Setup:
    """Make the start ready: a neck that was not trained before becomes a PCA of the training images' features.

    network: on its device; features: (N, F), what it sees in every image of the dataset.
    """
    device = next(network.parameters()).device
    if not network.trained_neck:
        initialize(network.neck.cpu(), features[split.train], recipe.pca_whitening)
        network.neck.to(device)
    return Setup(
        dataset,
        recipe,
        network,
        chosen=split.train,
        labels=np.unique(dataset.labels[split.train], return_inverse=True)[1],
        start=copied(network),
        start_vectors=validation.embeddings(network, features[split.train], device),
        sets=validation.validation_sets(dataset, split.validation, split.held_out),
    )


def train_members(
    setup: Setup,
    progress: Progress | None = None,
    tensors: State | None = None,
    state: StateFile | None = None,
    *,
    group: Group = ALONE,
    step: Callable[[float], None] = lambda loss: None,
    epoch: Callable[[Epoch], None] = lambda done: None,
) -> list[State]:
    """Train each member to its end, or until `patience` epochs in a row were no better; the best weights of each.

    progress, tensors: what `state` held, to go on from; state: where to keep both on the way; group: the processes that
    do this together; step, epoch: told the loss of each step, and each epoch.
    """
    recipe, progress, tensors = setup.recipe, progress or Progress(), tensors or {}
    load = view_loader(setup.dataset, recipe, setup.workers)
    finished = [under(f"member{number}", tensors) for number in range(progress.member)]
    while len(finished) < recipe.members:
        learner = _new_learner(setup, progress.member, group)
        if tensors:
            learner.restore(tensors)
            tensors = {}
        save = partial(_save, state, progress, learner, finished, start=setup.start)
        while not progress.member_is_done(recipe):
            _train_epoch(setup, learner, progress, load, step=step, save=save)
            _judge_epoch(setup, learner, progress)
            save()
            epoch(progress.epochs[-1])
        finished.append(learner.best)
        progress.member += 1
    return finished


def soup(members: list[State]) -> State:
    """The mean of the members' weights."""
    return {name: sum((one[name] for one in members[1:]), tensor) / len(members) for name, tensor in members[0].items()}


def _new_learner(setup: Setup, member: int, group: Group) -> Learner:
    torch.manual_seed(_seed(setup.recipe, member))
    setup.network.load_state_dict(setup.start)
    labels, folders = torch.from_numpy(setup.labels), None
    if not setup.recipe.compete_across_folders and len(setup.dataset.folder_names) > 1:
        first = np.unique(setup.labels, return_index=True)[1]
        folders = torch.from_numpy(setup.dataset.folders[setup.chosen][first])
    return Learner(
        setup.network,
        setup.recipe,
        labels=labels,
        start=setup.start_vectors,
        folders=folders,
        steps=setup.steps_of_member,
        group=group,
    )


def _seed(recipe: Recipe, member: int) -> int:
    return recipe.seed + 1000 * member


def _train_epoch(
    setup: Setup,
    learner: Learner,
    progress: Progress,
    load: Loader,
    *,
    step: Callable[[float], None],
    save: Callable[[], None],
) -> None:
    """Learn from the batches that are left of the epoch, saving now and then."""
    number = len(progress.of_member(progress.member))
    recipe = replace(setup.recipe, seed=_seed(setup.recipe, progress.member))
    size, first = recipe.sizes[number], learner.done - number * setup.steps_an_epoch
    saved, pause = time.monotonic(), SAVE_EVERY
    where = {"epoch": number, "size": size, "first": first}
    folders = setup.dataset.folders[setup.chosen]
    for batch in epoch_batches(load, setup.chosen, setup.labels, folders, recipe, **where, group=learner.group):
        loss = learner.step(batch)
        progress.losses.append(loss)
        step(loss.total)
        if time.monotonic() - saved > pause:
            began = time.monotonic()
            save()
            saved = time.monotonic()
            pause = max(SAVE_EVERY, 20 * (saved - began))


def _judge_epoch(setup: Setup, learner: Learner, progress: Progress) -> None:
    """Judge the averaged weights, and keep them if they are the member's best; helpers are told the verdict."""
    done = learner.group.told(_judged(setup, learner, progress) if learner.group.first else None)
    progress.epochs.append(done)
    if progress.best(progress.member) is done:
        learner.best = copied(learner.average)


def _judged(setup: Setup, learner: Learner, progress: Progress) -> Epoch:
    loss, arcface, drift = np.mean(progress.losses[-setup.steps_an_epoch :], axis=0).tolist()
    metrics = validation.judge(setup.sets, setup.judged(learner.average))
    number = len(progress.of_member(progress.member)) + 1
    size, score = setup.recipe.sizes[number - 1], validation.score(setup.sets, metrics)
    return Epoch(progress.member, number, size, loss, arcface, drift, metrics, score)


def _save(
    state: StateFile | None, progress: Progress, learner: Learner, finished: list[State], *, start: State
) -> None:
    if state is not None:
        tensors = learner.tensors() | prefixed("start", start)
        for number, weights in enumerate(finished):
            tensors |= prefixed(f"member{number}", weights)
        state.save(progress, tensors)

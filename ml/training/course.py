"""A training run's course: its pictures, its epochs, what it is judged on, and what is made of its weights."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ml.anchors import Anchors
from ml.data.dataset import Dataset, Indices
from ml.data.split import Split
from ml.evaluation import validation
from ml.neck import initialise, within_class_whitening
from ml.network import EmbeddingNetwork
from ml.training.batches import epoch_batches, steps_of
from ml.training.learner import Learner, State, blended, copied, prefixed, under
from ml.training.progress import Epoch, Progress, StateFile
from ml.training.recipe import Recipe, Settling

Option = TypeVar("Option")

SAVE_EVERY = 60.0  # seconds of work that a kill may cost; more where saving itself takes long


class Course:
    """A run's pictures and its learners: what is learnt from, what is judged on, and where it started.

    The members of a run learn the same from the same start, in another order and from other variations; the mean of
    their weights is better than any of them. Source: Wortsman et al. 2022, arXiv:2203.05482 (model soups).
    """

    def __init__(
        self, dataset: Dataset, split: Split, recipe: Recipe, network: EmbeddingNetwork, features: Tensor
    ) -> None:
        """network: the start, on its device; features: (N, F), its pooled features of every picture of the dataset."""
        self.dataset, self.chosen, self.recipe, self.network = dataset, split.train, recipe, network
        self.device = next(network.parameters()).device
        self.sets = validation.validation_sets(dataset, split.validation, split.held_out)
        plain = torch.nn.functional.normalize(features)
        self.baseline = validation.judge(self.sets, [plain[one.positions] for one in self.sets])
        self.labels: Indices = np.unique(dataset.labels[self.chosen], return_inverse=True)[1]
        if not network.trained_neck:
            initialise(network.neck.cpu(), features[self.chosen], recipe.whitening)
            network.neck.to(self.device)
        self.start, self.start_vectors = copied(network), self._embedded(features[self.chosen])
        self.progress = Progress()
        self.best: State = {}  # of the member being trained
        self.soup: State = {}  # the sum of the finished members' best
        self.learner = self._new_learner()

    @property
    def steps_of_member(self) -> int:
        """Steps that a member takes when it has all its epochs."""
        return self.steps_an_epoch * self.recipe.epochs

    @property
    def steps_an_epoch(self) -> int:
        return steps_of(len(self.chosen), self.recipe)

    def _new_learner(self) -> Learner:
        torch.manual_seed(self._seed)
        self.network.load_state_dict(self.start)
        return Learner(
            self.network,
            self.recipe,
            labels=torch.from_numpy(self.labels),
            start=self.start_vectors,
            rivals=self._rivals(),
            steps=self.steps_of_member,
            precision=lambda: validation.precision(self.device),
        )

    @property
    def _seed(self) -> int:
        return self.recipe.seed + 1000 * self.progress.member

    def resume(self, file: StateFile) -> None:
        """Go on from a state on disk, if there is one. Raises Conflict, BadCheckpoint."""
        found = file.load()
        if found is None:
            return
        self.progress, tensors = found
        self.learner = self._new_learner()
        self.learner.restore(tensors)
        self.best, self.soup = (under(part, tensors) for part in ("best", "soup"))

    def all_epochs(
        self,
        file: StateFile | None = None,
        step: Callable[[float], None] = lambda loss: None,
        epoch: Callable[[Epoch], None] = lambda done: None,
    ) -> State:
        """Train every member to its end, or until `patience` epochs in a row were no better. Returns their mean.

        file: where the state is kept on the way; step, epoch: told the loss of each step, and each epoch.
        """
        while self.progress.member < self.recipe.members:
            while not self._member_is_done():
                self._train_epoch(file, step)
                self._close_epoch()
                if file is not None:
                    self._save(file)
                epoch(self.progress.epochs[-1])
            self.soup = {name: self.soup.get(name, 0) + tensor for name, tensor in self.best.items()}
            self.progress.member += 1
            self.best = {}
            if self.progress.member < self.recipe.members:
                self.learner = self._new_learner()
        return {name: tensor / self.recipe.members for name, tensor in self.soup.items()}

    def _member_is_done(self) -> bool:
        done = len(self.progress.of_member(self.progress.member))
        if done in (0, self.recipe.epochs) or not self.sets:
            return done == self.recipe.epochs
        return done - self.progress.best(self.progress.member).number >= self.recipe.patience

    def _train_epoch(self, file: StateFile | None, step: Callable[[float], None]) -> None:
        number = len(self.progress.of_member(self.progress.member))
        recipe, size = replace(self.recipe, seed=self._seed), self.recipe.sizes[number]
        first = self.learner.done - number * self.steps_an_epoch
        saved, pause = time.monotonic(), SAVE_EVERY
        for batch in epoch_batches(
            self.dataset, self.chosen, self.labels, recipe, epoch=number, size=size, first=first
        ):
            loss = self.learner.step(batch)
            self.progress.losses.append((loss.total, loss.arcface, loss.drift))
            step(loss.total)
            if file is not None and time.monotonic() - saved > pause:
                began = time.monotonic()
                self._save(file)
                saved = time.monotonic()
                pause = max(SAVE_EVERY, 20 * (saved - began))

    def _close_epoch(self) -> None:
        """Judge the averaged weights, and keep them if they are the member's best."""
        progress = self.progress
        loss, arcface, drift = np.mean(progress.losses[-self.steps_an_epoch :], axis=0).tolist()
        metrics = validation.judge(self.sets, self._vectors(self.learner.average))
        number = len(progress.of_member(progress.member)) + 1
        size, score = self.recipe.sizes[number - 1], validation.score(metrics)
        done = Epoch(progress.member, number, size, loss, arcface, drift, metrics, score)
        progress.epochs.append(done)
        if progress.best(progress.member) is done:
            self.best = copied(self.learner.average)

    def _save(self, file: StateFile) -> None:
        file.save(self.progress, self.learner.tensors() | prefixed("best", self.best) | prefixed("soup", self.soup))

    def blend(self, trained: State) -> float:
        """Leave in `network` the blend of the start and these weights that validation likes best; the latter's share.

        Source: Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT).
        """

        def network(share: float) -> EmbeddingNetwork:
            self.network.anchors = None  # they come last, with `settle`
            self.network.load_state_dict(blended(self.start, trained, share))
            return self.network

        best = self._best_on_validation(self.recipe.blends, lambda share: self._vectors(network(share)))
        network(best)
        return best

    def settle(self) -> tuple[Settling, list[Tensor]]:
        """Settle the neck of `network` as validation likes it best; how, and the embeddings of the validation sets."""
        before, training = copied(self.network), self._pooled(self.chosen)
        pooled = [self._pooled(one.positions) for one in self.sets]

        def settled(settling: Settling) -> list[Tensor]:
            self._settled(before, training, settling)
            return [self._embedded(one) for one in pooled]

        best = self._best_on_validation(self.recipe.settlings, settled)
        return best, settled(best)

    def _best_on_validation(self, options: Sequence[Option], vectors: Callable[[Option], list[Tensor]]) -> Option:
        """The option whose embeddings validation likes best; the first where there is nothing to judge on."""
        if not self.sets or len(options) == 1:
            return options[0]
        return max(options, key=lambda one: validation.score(validation.judge(self.sets, vectors(one))))

    def _settled(self, before: State, training: Tensor, settling: Settling) -> None:
        network, labels = self.network, torch.from_numpy(self.labels)
        network.anchors = None
        network.load_state_dict(before)
        few = np.bincount(self.dataset.folder_of_class()) <= self.recipe.broad
        broad = torch.from_numpy(few[self.dataset.folders[self.chosen]])
        within_class_whitening(
            network.neck.cpu(),
            training,
            labels,
            strength=settling.strength,
            emphasis=settling.emphasis,
            emphasised=broad,
        )
        network.neck.to(self.device)
        if settling.pull and broad.any():
            network.anchors = Anchors.at_means(self._embedded(training), labels, broad, settling.pull).to(self.device)

    def embed(self, positions: Indices) -> Tensor:
        """(N, dim) unit length: where `network`, as it now is, puts these pictures of the dataset."""
        return self._embedded(self._pooled(positions))

    def data(self) -> list[str]:
        """What was learnt from, in words."""
        counts = np.bincount(self.dataset.folders[self.chosen], minlength=len(self.dataset.folder_names))
        return [f"{name}: {count} pictures" for name, count in zip(self.dataset.folder_names, counts, strict=True)]

    def _vectors(self, network: EmbeddingNetwork) -> list[Tensor]:
        """The embeddings of each validation set."""
        return [validation.embeddings(network, self._pooled(one.positions, network), self.device) for one in self.sets]

    def _embedded(self, pooled: Tensor) -> Tensor:
        return validation.embeddings(self.network, pooled, self.device)

    def _pooled(self, positions: Indices, network: EmbeddingNetwork | None = None) -> Tensor:
        return validation.pooled_features(network or self.network, self.dataset, positions, self.recipe.preprocessing)

    def _rivals(self) -> Tensor | None:
        """Which classes compete: all with all, or only those of one folder."""
        if self.recipe.compete_across_folders:
            return None
        first = np.unique(self.labels, return_index=True)[1]
        folder = self.dataset.folders[self.chosen][first]
        return torch.from_numpy(folder[:, None] == folder[None, :])

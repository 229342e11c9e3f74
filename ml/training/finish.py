"""What is made of trained weights, as validation likes it best: blended with the start, whitened within classes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ml.anchors import Anchors
from ml.evaluation import validation
from ml.neck import within_class_whitening
from ml.network import EmbeddingNetwork
from ml.training.learner import State, copied
from ml.training.members import Setup
from ml.training.recipe import WithinClassWhitening

Option = TypeVar("Option")


def blend_with_start(setup: Setup, trained: State) -> float:
    """Leave in the network the blend of the start and these weights that validation likes best; the latter's share.

    Source: Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT).
    """
    network = setup.network

    def vectors(share: float) -> list[Tensor]:
        load(network, blended(setup.start, trained, share))
        return setup.judged(network)

    setup = replace(setup, sets=[one for one in setup.sets if one.chooses])
    best = _best_on_validation(setup, setup.recipe.blends, vectors)
    load(network, blended(setup.start, trained, best))
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
        load(setup.network, before)
        _whiten(setup, training, whitening)
        return validation.of_sets(setup.sets, positions, setup.embedded(judged))

    best = _best_on_validation(setup, setup.recipe.within_class_whitenings, vectors)
    return best, vectors(best)


def finish(setup: Setup, trained: State, blend: float, whitening: WithinClassWhitening) -> None:
    """Leave in the network the start blended with these weights, whitened: what was chosen for others."""
    load(setup.network, blended(setup.start, trained, blend))
    _whiten(setup, setup.pooled(setup.chosen), whitening)


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
    if not any(one.chooses for one in setup.sets) or len(options) == 1:
        return options[0]

    def score(option: Option) -> float:
        judged = [pair for pair in zip(setup.sets, vectors(option), strict=True) if pair[0].chooses]
        sets = [one for one, _ in judged]
        return validation.score(sets, validation.judge(sets, [found for _, found in judged]))

    return max(options, key=score)


def load(network: EmbeddingNetwork, weights: State) -> None:
    """Set the weights of a network that may have been whitened."""
    network.anchors = None  # they come last, with the whitening
    network.load_state_dict(weights)

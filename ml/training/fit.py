"""The members trained, in one process or in several; and once more, on all images, as validation chose."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import Tensor

from ml.data.split import Split
from ml.evaluation import validation
from ml.training.finish import finish
from ml.training.learner import State
from ml.training.members import Setup, soup, train_members
from ml.training.processes import helped
from ml.training.progress import Epoch, Progress, StateFile, fingerprint
from ml.training.recipe import Recipe, Stage


def fit(
    setup: Setup,
    progress: Progress,
    tensors: State,
    state: StateFile,
    *,
    processes: int,
    step: Callable[[float], None],
    epoch: Callable[[Epoch], None] = lambda done: None,
) -> list[State]:
    """`train_members`, each batch shared among processes."""
    images, batch = len(setup.chosen), setup.recipe.batch_size
    uneven = images < batch and images % processes  # one small batch an epoch
    with helped(1 if uneven else processes, setup, progress, tensors) as group:
        return train_members(setup, progress, tensors, state, group=group, step=step, epoch=epoch)


def for_refit(setup: Setup, split: Split, progress: Progress, features: Tensor) -> Setup:
    """The setup of a refit: from the same start on what `split` says, for as long as was best.

    progress: of the run that validation judged; features: (N, F), what the start sees in every image of the dataset.
    Nothing is left to choose by. The members train for the mean of their best numbers of epochs.
    """
    recipe, dataset, chosen = setup.recipe, setup.dataset, split.train
    best = [progress.best(member).number for member in range(recipe.members)]
    setup.network.load_state_dict(setup.start)
    return replace(
        setup,
        recipe=shortened(recipe, round(float(np.mean(best)))),
        chosen=chosen,
        labels=np.unique(dataset.labels[chosen], return_inverse=True)[1],
        start_vectors=validation.embeddings(setup.network, features[chosen], setup.device),
        sets=[one for one in setup.sets if not one.chooses],
    )


def refit(
    setup: Setup,
    state: StateFile,
    *,
    processes: int,
    begin: Callable[[int, int, int], None],
    step: Callable[[float], None],
) -> None:
    """Leave in the network what `for_refit` asks for.

    state: where it is kept on the way, for the run before; begin: told on how many images, how many steps are done, of
    how many.
    """
    state = StateFile(state.path, fingerprint(setup.recipe, [], state.run))
    progress, tensors = state.load() or (Progress(), {})
    begin(len(setup.chosen), len(progress.losses), setup.steps_of_member * setup.recipe.members)
    unjudged = replace(setup, sets=[])
    members = fit(unjudged, progress, tensors, state, processes=processes, step=step)
    finish(setup, soup(members))


def shortened(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe with the first epochs of its stages."""
    stages: list[Stage] = []
    for size, count in recipe.stages:
        if epochs > 0:
            stages.append((size, min(count, epochs)))
        epochs -= count
    return replace(recipe, stages=tuple(stages), patience=recipe.epochs)

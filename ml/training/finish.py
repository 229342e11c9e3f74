"""What is made of trained weights: blended with the start, and the projection whitened within classes."""

import torch

from ml.neck import within_class_whitening
from ml.training.learner import State
from ml.training.members import Setup


def finish(setup: Setup, trained: State) -> None:
    """Leave in the network the start blended with these weights, and whitened, as the recipe says.

    A blend keeps what the start knows of kinds that training did not show.
    Source: Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT).
    """
    network, recipe = setup.network, setup.recipe
    network.load_state_dict(blended(setup.start, trained, recipe.blend))
    if not recipe.whitening:
        return
    labels = torch.from_numpy(setup.labels)
    within_class_whitening(network.neck.cpu(), setup.pooled(setup.chosen), labels, strength=recipe.whitening)
    network.neck.to(setup.device)


def blended(start: State, trained: State, share: float) -> State:
    """Weights between the start (share 0) and the trained ones (1)."""
    return {
        name: torch.lerp(tensor, trained[name], share) if tensor.is_floating_point() else trained[name]
        for name, tensor in start.items()
    }

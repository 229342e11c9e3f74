"""The weights that a training run begins with."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import structlog
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from ml.card import card_path, read_card
from ml.checkpoint import load_checkpoint
from ml.network import EmbeddingNetwork
from ml.shipped import SHIPPED
from ml.training.recipe import Recipe
from umbel.base.errors import BadCheckpoint, ModelNotFound

log = structlog.get_logger(__name__)


def find_start(weights: Path | None, recipe: Recipe) -> Path | None:
    """The file to start from; None: timm's own weights, which the hub or its cache has.

    Without a file, and without a hub, a network of the shipped model's build starts from the shipped model.
    Raises ModelNotFound where there is nothing to start from.
    """
    if weights is not None:
        if not weights.is_file():
            raise ModelNotFound(f"There are no start weights at {weights}.")
        return weights
    log.info("asking_model_hub", architecture=recipe.architecture, otherwise=SHIPPED.name)  # it may take a minute
    try:
        EmbeddingNetwork(recipe.architecture, pretrained=True)
    except Exception as error:  # the hub's client raises many kinds; all mean that there are no weights
        if not SHIPPED.is_file() or read_card(SHIPPED).architecture != recipe.architecture:
            raise ModelNotFound(
                f"The pretrained weights of {recipe.architecture} could not be fetched from the model hub; name a file "
                "with --start."
            ) from error
        log.warning("hub_unreachable", architecture=recipe.architecture, start=SHIPPED.name)
        return SHIPPED
    return None


class Origin(NamedTuple):
    """What a run starts from. name: in words; sha256: of the file, or of timm's weights as a safetensors file."""

    name: str
    sha256: str


def origin(weights: Path | None, network: EmbeddingNetwork) -> Origin:
    """Of the start that `load_start` made of these weights."""
    if weights is not None:
        return Origin(weights.name, hashlib.sha256(weights.read_bytes()).hexdigest())
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.backbone.state_dict().items()}
    return Origin(f"timm {network.architecture}, from the hub", hashlib.sha256(to_bytes(state)).hexdigest())


def resume_start(weights: dict[str, Tensor], recipe: Recipe, device: torch.device) -> EmbeddingNetwork:
    """The start as an interrupted run kept it, so that neither a file nor the hub is needed to go on."""
    network = untrained(recipe)
    network.load_state_dict(weights)
    network.trained_neck = True
    return placed(network, device)


def load_start(weights: Path | None, recipe: Recipe, device: torch.device) -> EmbeddingNetwork:
    """The network to begin with, on its device: an Umbel checkpoint, a timm backbone, or, for None, timm's own.

    Raises ModelNotFound, BadCheckpoint.
    """
    if weights is not None and card_path(weights).is_file():
        network = _trained_before(weights, recipe)
    else:
        network = untrained(recipe, pretrained=weights is None)
        try:
            if weights is not None:
                network.load_backbone(load_file(weights))
        except (SafetensorError, RuntimeError) as error:
            raise BadCheckpoint(f"{weights} does not hold the weights of a {recipe.architecture}: {error}.") from error
    return placed(network, device)


def placed(network: EmbeddingNetwork, device: torch.device) -> EmbeddingNetwork:
    """The network on its device, its batch norm at rest."""
    there: EmbeddingNetwork = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return there


def untrained(recipe: Recipe, *, pretrained: bool = False) -> EmbeddingNetwork:
    """The network of a recipe, with random weights or timm's own backbone."""
    return EmbeddingNetwork(recipe.architecture, recipe.dim, recipe.pooling, pretrained=pretrained, size=recipe.size)


def _trained_before(weights: Path, recipe: Recipe) -> EmbeddingNetwork:
    """The network of an Umbel checkpoint, without the layers that come after its projection."""
    trained, card = load_checkpoint(weights)
    if card.architecture != recipe.architecture:
        raise BadCheckpoint(f"{weights} holds a {card.architecture}, and the recipe wants a {recipe.architecture}.")
    network = untrained(recipe)
    network.load_backbone(trained.backbone.state_dict())
    if (card.neck, card.dim, card.pooling) == ("projection", recipe.dim, recipe.pooling):
        network.neck.load_state_dict(trained.neck.state_dict())
        network.pool.load_state_dict(trained.pool.state_dict())
        network.trained_neck = True
    return network

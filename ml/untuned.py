"""Backbones as they were pretrained, made into checkpoints: for galleries that no model was trained for."""

from pathlib import Path

import structlog
from safetensors import SafetensorError
from safetensors.torch import load_file

from ml.backbones import Pretraining, pretraining
from ml.card import ModelCard, Provenance
from ml.checkpoint import now, save_checkpoint
from ml.network import EmbeddingNetwork
from ml.preprocess import Preprocessing
from umbel.base.errors import BadCheckpoint, InvalidInput, ModelNotFound

log = structlog.get_logger(__name__)


def save_untuned(
    path: Path, architecture: str, *, weights: Path | None = None, size: int | None = None, name: str | None = None
) -> ModelCard:
    """Write a checkpoint that embeds images as the backbone's plain features, and its card.

    architecture: any of timm's; weights: its safetensors file, with or without a classifier; None: timm's, from the
    hub or its cache; size: side of the images; None: what it was pretrained on; name: the model's; None: as the file's.
    Raises InvalidInput, ModelNotFound without the weights, BadCheckpoint where they are another backbone's.
    """
    stated = pretraining(architecture)
    size = size or stated.size
    network = _network(architecture, size, weights)
    name = name or path.name.removesuffix(path.suffix)
    preprocessing = Preprocessing(size=size, mean=stated.mean, std=stated.std)
    return save_checkpoint(
        path, network, name=name, preprocessing=preprocessing, provenance=_provenance(architecture, stated, weights)
    )


def _network(architecture: str, size: int, weights: Path | None) -> EmbeddingNetwork:
    try:
        network = EmbeddingNetwork(architecture, neck="none", size=size, pretrained=weights is None)
        if weights is not None:
            network.load_backbone(load_file(weights))
        return network
    except InvalidInput:
        raise
    except Exception as error:  # the hub's client raises many kinds; to us all mean that there are no weights
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        if weights is None:
            log.warning("hub_unreachable", architecture=architecture, error=reason)
            raise ModelNotFound(
                f"The pretrained weights of {architecture} could not be fetched from the model hub; where there is no "
                f"network, bring timm's safetensors file: umbel models add FILE --backbone {architecture}"
            ) from error
        if isinstance(error, (SafetensorError, RuntimeError, OSError)):
            raise BadCheckpoint(f"{weights} does not hold the weights of a {architecture}: {reason}.") from error
        raise


def _provenance(architecture: str, stated: Pretraining, weights: Path | None) -> Provenance:
    return Provenance(
        data=[f"what timm pretrained it on: {stated.tag}" if stated.tag else "what it was pretrained on"],
        start=weights.name if weights else f"timm {architecture}, from the hub",
        created_at=now(),
        note=f"not fine-tuned; license of the weights: {stated.license or 'unknown, see the hub'}",
    )

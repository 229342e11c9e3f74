"""The models to judge: checkpoints as workers load them, and bare backbones to compare them with."""

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from ml.backbones import pretraining, timm_has
from ml.card import ModelCard, Provenance, card_path
from ml.checkpoint import now
from ml.embedder import NetworkEmbedder
from ml.network import EmbeddingNetwork
from ml.preprocess import Preprocessing
from ml.runtime import embedder_of
from ml.runtimes.torch_forward import torch_embedder
from umbel.base.errors import BadCheckpoint, ModelNotFound
from umbel.base.settings import Settings


def load_model(checkpoint: Path, settings: Settings) -> NetworkEmbedder:
    """The checkpoint on this hardware, as a worker runs it. Raises ModelNotFound, BadCheckpoint, InvalidInput."""
    return embedder_of(checkpoint, settings)


def load_rival(weights: Path, judged: ModelCard, settings: Settings) -> NetworkEmbedder:
    """A model to compare with: a checkpoint, or the weights of a timm backbone without a card.

    A backbone stands for a model without fine-tuning: its pooled features, of pictures cut and sized as for the judged
    model and standardized as the backbone learnt them. Raises as load_model does.
    """
    if card_path(weights).is_file():
        return load_model(weights, settings)
    if not weights.is_file():
        raise ModelNotFound(f"There is no checkpoint at {weights}.")
    network = _backbone(weights, judged)
    start = pretraining(network.architecture)
    preprocessing = judged.preprocessing.model_copy(update={"mean": start.mean, "std": start.std})
    return torch_embedder(network, _plain_card(weights, network, preprocessing), settings)


def _backbone(weights: Path, judged: ModelCard) -> EmbeddingNetwork:
    """The network whose backbone these weights are, without a neck: of the file's name, else of the judged model's."""
    named = weights.name.removesuffix(weights.suffix)
    architecture = named if timm_has(named) else judged.architecture
    network = EmbeddingNetwork(architecture, neck="none", size=judged.preprocessing.size)
    try:
        network.load_backbone(load_file(weights))
    except SafetensorError as error:
        raise BadCheckpoint(f"{weights} is no safetensors file: {error}.") from error
    except RuntimeError as error:
        raise BadCheckpoint(
            f"{weights} has no card and does not hold a {architecture} ({error}); name the file after its backbone, as "
            "timm does."
        ) from error
    return network


def _plain_card(weights: Path, network: EmbeddingNetwork, preprocessing: Preprocessing) -> ModelCard:
    return ModelCard(
        name=weights.stem,
        architecture=network.architecture,
        dim=network.dim,
        neck="none",
        preprocessing=preprocessing,
        preprocessing_hash=preprocessing.hash,
        weights_sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        provenance=Provenance(data=[], start=weights.name, created_at=now(), note="not tuned: pooled features"),
    )

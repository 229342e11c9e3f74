"""The models to judge: checkpoints as workers load them, and bare backbones to compare them with."""

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from ml.card import ModelCard, Provenance, card_path
from ml.checkpoint import load_checkpoint, now
from ml.embedder import NetworkEmbedder
from ml.network import ARCHITECTURES, EmbeddingNetwork
from ml.preprocess import Preprocessing
from ml.runtimes.torch_forward import torch_embedder
from umbel.base.errors import BadCheckpoint, ModelNotFound
from umbel.base.settings import Settings


def load_model(checkpoint: Path, settings: Settings) -> NetworkEmbedder:
    """The checkpoint on this hardware, as a worker runs it. Raises ModelNotFound, BadCheckpoint, InvalidInput."""
    return torch_embedder(*load_checkpoint(checkpoint), settings)


def load_rival(weights: Path, judged: ModelCard, settings: Settings) -> NetworkEmbedder:
    """A model to compare with: a checkpoint, or the weights of a timm backbone without a card.

    A backbone stands for a model without fine-tuning: its pooled features, of pictures prepared as for the judged
    model. Raises as load_model does.
    """
    if card_path(weights).is_file():
        return load_model(weights, settings)
    if not weights.is_file():
        raise ModelNotFound(f"There is no checkpoint at {weights}.")
    network = _backbone(weights, judged.architecture)
    return torch_embedder(network, _plain_card(weights, network, judged.preprocessing), settings)


def _backbone(weights: Path, likely: str) -> EmbeddingNetwork:
    """The network whose backbone these weights fit, without a neck. The likely architecture is tried first."""
    try:
        state = load_file(weights)
    except SafetensorError as error:
        raise BadCheckpoint(f"{weights} is no safetensors file: {error}.") from error
    for architecture in sorted(ARCHITECTURES, key=lambda name: name != likely):
        network = EmbeddingNetwork(architecture, neck="none")
        own = {key for key in network.backbone.state_dict() if not key.endswith("num_batches_tracked")}
        if own <= state.keys():
            try:
                network.load_backbone(network.backbone.state_dict() | {key: state[key] for key in own})
            except RuntimeError:
                continue  # the same layers, of another width
            return network
    raise BadCheckpoint(f"{weights} has no card and holds none of the backbones {', '.join(ARCHITECTURES)}.")


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

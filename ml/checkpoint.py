"""Checkpoints: a safetensors file in half precision, and a JSON card beside it."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from ml.card import ModelCard, Provenance, verified_card, write_checkpoint
from ml.network import EmbeddingNetwork
from ml.preprocess import Preprocessing
from umbel.base.errors import BadCheckpoint, Conflict, InvalidInput
from umbel.models.calibration import Calibration


def save_checkpoint(
    path: Path,
    network: EmbeddingNetwork,
    *,
    name: str,
    preprocessing: Preprocessing,
    provenance: Provenance,
    metrics: dict[str, object] | None = None,
    calibration: Calibration | None = None,
    domain: str | None = None,
) -> ModelCard:
    """Write `path` (.safetensors) and its card; a reader meanwhile sees the old pair or a complete file."""
    weights = to_bytes({key: _stored(tensor) for key, tensor in network.state_dict().items() if _kept(key)})
    card = ModelCard(
        name=name,
        architecture=network.architecture,
        domain=domain,
        dim=network.dim,
        pooling=network.pooling,
        neck=network.neck_kind,
        anchors=len(network.anchors.centres) if network.anchors is not None else 0,
        whitened=network.whitening is not None,
        preprocessing=preprocessing,
        preprocessing_hash=preprocessing.hash,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        provenance=provenance,
        metrics=metrics or {},
        calibration=calibration,
    )
    return write_checkpoint(path, weights, card)


def load_checkpoint(path: Path) -> tuple[EmbeddingNetwork, ModelCard]:
    """The network, in float32 and eval mode, and its card.

    Raises ModelNotFound when there is no such file; BadCheckpoint when weights, card and preprocessing do not fit
    one another; Conflict for one in int8, which OpenVINO alone runs.
    """
    card = verified_card(path)
    if card.quantization is not None:
        raise Conflict(f"{card.name} is in int8, which only OpenVINO on a CPU can run; this needs a model in float.")
    try:
        size = card.preprocessing.size
        options: dict[str, Any] = {"size": size, "anchors": card.anchors, "whitened": card.whitened}
        network = EmbeddingNetwork(card.architecture, card.dim, card.pooling, card.neck, **options)
        state = {key: tensor.float() for key, tensor in load_file(path).items()}
        fit = network.load_state_dict(state, strict=False)
    except (SafetensorError, RuntimeError, ValueError, InvalidInput) as error:
        raise BadCheckpoint(f"The weights in {path} do not fit their card: {error}") from error
    missing = [key for key in fit.missing_keys if _kept(key)]
    if missing or fit.unexpected_keys or network.dim != card.dim:
        raise BadCheckpoint(f"The weights in {path} do not fit the architecture {card.architecture} of their card.")
    return network.eval(), card


def now() -> str:
    """The time, as RFC 3339 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _kept(key: str) -> bool:
    return not key.endswith("num_batches_tracked")  # a counter that only training with batch statistics would use


def _stored(tensor: Tensor) -> Tensor:
    """Matrices and kernels in half precision; vectors stay float32: batch-norm variances leave float16's range."""
    return (tensor.half() if tensor.ndim > 1 else tensor.float()).contiguous()

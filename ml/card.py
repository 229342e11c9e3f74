"""The card beside a checkpoint: what the weights are, how they came to be, and how good they are. No torch."""

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ml.preprocess import Preprocessing
from umbel.base.errors import BadCheckpoint, ModelNotFound
from umbel.base.replacing import replacing
from umbel.models.calibration import Calibration

LONGEST_DOMAIN = 100  # characters


class Provenance(BaseModel):
    """Where the weights come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: list[str] = Field(description="The sets trained on, in words.")
    start: str = Field(description="The weights that training started from, in words.")
    start_sha256: str | None = Field(default=None, description="SHA-256 of the file that those weights are, hex.")
    recipe: dict[str, Any] = Field(default_factory=dict, description="Every knob of the training run.")
    seed: int | None = None
    commit: str | None = Field(default=None, description="Commit of the code that trained.")
    created_at: str = Field(description="RFC 3339, UTC.")
    note: str = ""


class Quantization(BaseModel):
    """That a checkpoint computes in int8, and with what it was made. Only OpenVINO runs it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pictures: int = Field(description="How many the ranges of activations were learnt from.")
    judges: int = Field(description="How many others the cosines are of.")
    cosine_p50: float = Field(description="To the vector in float, in the median.")
    cosine_p1: float = Field(description="The same at the first percentile: 99 of 100 vectors are nearer.")
    in_float: int = Field(description="Layers that stay in float for what they would cost in nearness.")
    nncf: str
    openvino: str


class ModelCard(BaseModel):
    """What must be known to use a checkpoint, and to judge it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    architecture: str = Field(description="timm's name of the backbone.")
    domain: str | None = Field(
        default=None,
        max_length=LONGEST_DOMAIN,
        description="The kind of pictures it is for: general, or flowers; None: not said.",
    )
    dim: int = Field(ge=1, description="Length of an embedding.")
    pooling: Literal["avg", "gem"] = "avg"
    neck: Literal["projection", "none"] = "projection"
    anchors: int = Field(default=0, ge=0, description="Known classes that embeddings near them are drawn to.")
    whitened: bool = Field(default=False, description="Whether a map that a gallery's own vectors taught comes last.")
    preprocessing: Preprocessing
    preprocessing_hash: str
    weights_sha256: str = Field(description="SHA-256 of the safetensors file, hex; names the model version.")
    provenance: Provenance
    metrics: dict[str, Any] = Field(default_factory=dict)
    calibration: Calibration | None = Field(
        default=None, description="What distances and votes mean, learnt on validation pictures; None: not known."
    )
    quantization: Quantization | None = Field(
        default=None, description="Of a checkpoint in int8, whose vectors are others than those in float; None: float."
    )

    @field_validator("preprocessing", mode="before")
    @classmethod
    def _as_stated(cls, stated: Any) -> Any:
        return Preprocessing.of_card(stated) if isinstance(stated, dict) else stated


def card_path(checkpoint: Path) -> Path:
    """The card's place: `x.json` beside `x.safetensors`."""
    return checkpoint.with_suffix(".json")


def write_checkpoint(path: Path, weights: bytes, card: ModelCard) -> ModelCard:
    """Write `path` (.safetensors) and its card; a reader meanwhile sees the old pair or a complete file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for file, data in ((path, weights), (card_path(path), card.model_dump_json(indent=2).encode() + b"\n")):
        with replacing(file) as partial:
            partial.write_bytes(data)
    return card


def read_card(checkpoint: Path) -> ModelCard:
    """The card of the checkpoint at this path. Raises ModelNotFound without a file, BadCheckpoint for a bad card."""
    if not checkpoint.is_file():
        raise ModelNotFound(f"There is no checkpoint at {checkpoint}.")
    try:
        card = ModelCard.model_validate_json(card_path(checkpoint).read_bytes())
    except FileNotFoundError as error:
        raise BadCheckpoint(f"{checkpoint} has no card: {card_path(checkpoint).name} is missing beside it.") from error
    except ValidationError as error:
        raise BadCheckpoint(f"The card of {checkpoint} cannot be read: {_first(error)}.") from error
    if card.preprocessing.hash != card.preprocessing_hash:
        raise BadCheckpoint(f"The card of {checkpoint} has been changed: its preprocessing does not match its hash.")
    return card


def verified_card(checkpoint: Path) -> ModelCard:
    """The card of the checkpoint at this path, whose weights are the ones it describes. Raises as read_card does."""
    card = read_card(checkpoint)
    if hashlib.sha256(checkpoint.read_bytes()).hexdigest() != card.weights_sha256:
        raise BadCheckpoint(f"The weights in {checkpoint} are not the ones its card describes: their SHA-256 differs.")
    return card


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'card'}: {problem['msg']}"

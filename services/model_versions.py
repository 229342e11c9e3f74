"""The model version that the gallery lives by: registered once, then loaded by its hash wherever a worker starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from core.blobs import Blobs
from core.calibration import Calibration
from db import model_versions, partitions
from db.models import ModelVersion


@dataclass(frozen=True, slots=True)
class Candidate:
    """A checkpoint on this machine: its two files, and what its card says."""

    weights: Path
    card_file: Path
    name: str
    architecture: str
    dim: int
    weights_sha256: str
    preprocessing_hash: str
    card: dict[str, Any]


def register(session: Session, blobs: Blobs, candidate: Candidate) -> ModelVersion:
    """Make a checkpoint known: its files to the blob store, its row, its partition with an HNSW index.

    Registering the same weights again returns the version that is there, and puts back files that were lost.
    """
    model_versions.lock_registration(session)
    files = (candidate.weights, candidate.card_file)
    for key, file in zip(blob_keys(candidate.weights_sha256), files, strict=True):
        if not blobs.exists(key):
            blobs.put(key, file.read_bytes())
    known = model_versions.find_version_by_weights(session, candidate.weights_sha256)
    if known is not None:
        return known
    version = model_versions.insert_model_version(
        session,
        name=candidate.name,
        architecture=candidate.architecture,
        dim=candidate.dim,
        weights_sha256=candidate.weights_sha256,
        preprocessing_hash=candidate.preprocessing_hash,
        card=candidate.card,
    )
    partitions.create_partition(session, version.id, version.dim)
    return version


def register_first(session: Session, blobs: Blobs, candidate: Candidate) -> ModelVersion:
    """The active version; `candidate`, registered and activated, where there is none yet."""
    model_versions.lock_registration(session)
    active = model_versions.find_active_version(session)
    if active is not None:
        return active
    version = register(session, blobs, candidate)
    model_versions.activate_version(session, version.id)
    return version


def fetch_checkpoint(blobs: Blobs, weights_sha256: str, folder: Path) -> Path:
    """Copy a registered checkpoint from the blob store into `folder`, unless it is there. Returns the weights' path."""
    folder.mkdir(parents=True, exist_ok=True)
    for key in blob_keys(weights_sha256):
        target = folder / f"{weights_sha256}{Path(key).suffix}"
        if not target.exists():
            part = target.with_suffix(target.suffix + ".part")
            part.write_bytes(blobs.get(key))
            part.replace(target)
    return folder / f"{weights_sha256}.safetensors"


def blob_keys(weights_sha256: str) -> tuple[str, str]:
    """Where a checkpoint's weights and card are kept."""
    return f"models/{weights_sha256}/weights.safetensors", f"models/{weights_sha256}/card.json"


def calibration_of(version: ModelVersion) -> Calibration | None:
    """What the version's card says of distances and votes; None where it says nothing."""
    try:
        return Calibration.model_validate(version.card["calibration"])
    except (KeyError, ValidationError):
        return None

"""Checkpoints: checked, registered with a row and a partition, kept in the blob store, fetched onto this machine.

The check runs without torch. It reads the weights' hash, the safetensors header and the card; whether the network runs
is found by the first worker that reindexes with it.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.errors import BadCheckpoint, Conflict
from umbel.base.fingerprint import fingerprint
from umbel.base.tables import ModelVersion
from umbel.base.types import EXTERNAL, ModelState
from umbel.models import partitions, versions

WIDTH = "neck.linear.weight"  # (dim, features); a network without a neck has none
LENGTH = struct.Struct("<Q")  # of the header, in bytes
LONGEST_HEADER = 100_000_000  # safetensors' own limit


@dataclass(frozen=True, slots=True)
class Candidate:
    """A checkpoint: its two files, and what its card says. split: the images it was trained and judged on, if known."""

    weights: bytes
    card_file: bytes
    name: str
    architecture: str
    dim: int
    weights_sha256: str
    preprocessing_hash: str
    card: dict[str, Any]
    split: bytes | None = None


class Card(BaseModel):
    """What registering needs of a card; ml/card.py has all of it."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(min_length=1, max_length=200)
    architecture: str = Field(min_length=1, max_length=200)
    domain: str | None = Field(None, max_length=100)
    dim: int = Field(ge=1, le=4_000)
    preprocessing: dict[str, Any]
    preprocessing_hash: str
    weights_sha256: str


def read_candidate(weights: bytes, card_file: bytes, split: bytes | None = None) -> Candidate:
    """The checkpoint in these files. Raises BadCheckpoint where they do not fit one another."""
    everything = _card(card_file)
    try:
        card = Card.model_validate(everything)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "card"
        raise BadCheckpoint(f"The card cannot be read: {where}: {problem['msg']}.") from error
    if card.architecture == EXTERNAL:
        raise BadCheckpoint(
            f"The card cannot be read: architecture: {EXTERNAL} is kept for vectors that others compute."
        )
    if hashlib.sha256(weights).hexdigest() != card.weights_sha256:
        raise BadCheckpoint("The weights are not the ones that the card describes: their SHA-256 differs.")
    if fingerprint(card.preprocessing) != card.preprocessing_hash:
        raise BadCheckpoint("The card has been changed: its preprocessing does not match its hash.")
    width = _tensors(weights).get(WIDTH, [card.dim])[:1]
    if width != [card.dim]:
        raise BadCheckpoint(
            f"The weights make vectors of {width[0] if width else 0} numbers; the card says {card.dim}."
        )
    if split is not None:
        _check_split(split)
    return Candidate(
        weights=weights,
        card_file=card_file,
        name=card.name,
        architecture=card.architecture,
        dim=card.dim,
        weights_sha256=card.weights_sha256,
        preprocessing_hash=card.preprocessing_hash,
        card=everything,
        split=split,
    )


def register(session: Session, blobs: Blobs, candidate: Candidate) -> ModelVersion:
    """Make a checkpoint known: its files to the blob store, its row, a partition to be filled.

    Registering the same weights again returns the version that is there, puts back files that were lost, and brings a
    retired one back. Raises Conflict for known weights with another preprocessing and while a retired one's vectors
    are still being removed; TransientError.
    """
    versions.lock_registration(session)
    known = _find_known(session, candidate)
    files = [*zip(blob_keys(candidate.weights_sha256), (candidate.weights, candidate.card_file), strict=True)]
    if candidate.split is not None:
        files.append((split_key(candidate.weights_sha256), candidate.split))
    for key, file in files:
        if not blobs.exists(key):
            blobs.put(key, file)
    if known is not None and known.state != ModelState.RETIRED:
        return known
    if known is None:
        known = versions.insert_model_version(
            session,
            name=candidate.name,
            architecture=candidate.architecture,
            dim=candidate.dim,
            weights_sha256=candidate.weights_sha256,
            preprocessing_hash=candidate.preprocessing_hash,
            card=candidate.card,
        )
    else:
        bring_back(session, known)
    partitions.create_partition(session, known.id, known.dim, indexed=False)
    return known


def bring_back(session: Session, version: ModelVersion) -> None:
    """Let a retired version be registered again. Raises Conflict while its vectors are still being removed."""
    if partitions.has_partition(session, version.id):
        raise Conflict(f"The vectors of {version.name!r} are still being removed; try again in a minute.")
    versions.change_version(session, version.id, state=ModelState.REGISTERED, retired_at=None)


def register_first(session: Session, blobs: Blobs, candidate: Candidate) -> ModelVersion:
    """The active version; `candidate`, registered and activated, where there is none yet."""
    versions.lock_registration(session)
    active = versions.find_active_version(session)
    if active is not None:
        return active
    version = register(session, blobs, candidate)
    partitions.create_partition(session, version.id, version.dim)  # nothing to be filled first: with its index
    versions.activate_version(session, version.id)
    return version


def blob_keys(weights_sha256: str) -> tuple[str, str]:
    """The keys of a checkpoint's weights and card."""
    return f"models/{weights_sha256}/weights.safetensors", f"models/{weights_sha256}/card.json"


def split_key(weights_sha256: str) -> str:
    """The key of the list of images that a checkpoint was trained and judged on."""
    return f"models/{weights_sha256}/split.json"


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


def hashes_of(picture: dict[str, str]) -> list[bytes]:
    """SHA-256 that a picture of a split is known by: of its file, and of what the gallery holds of it."""
    known = [picture["sha256"], *([picture["gallery_sha256"]] if "gallery_sha256" in picture else [])]
    return [bytes.fromhex(each) for each in known]


def _find_known(session: Session, candidate: Candidate) -> ModelVersion | None:
    """The version with these weights. Raises Conflict if it prepares pictures in another way."""
    known = versions.find_version_by_weights(session, candidate.weights_sha256)
    if known is not None and known.preprocessing_hash != candidate.preprocessing_hash:
        raise Conflict(f"These weights are registered as {known.name!r}, with another preprocessing.")
    return known


def _card(card_file: bytes) -> Any:
    """What the card says, as far as Postgres can keep it: no NaN, no NUL, no half of a surrogate pair."""
    try:
        everything = json.loads(card_file)
        if "\\u0000" in json.dumps(everything, allow_nan=False):
            raise ValueError("it contains a NUL character")
        json.dumps(everything, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadCheckpoint(f"The card cannot be read: {error}.") from error
    return everything


def _tensors(weights: bytes) -> dict[str, list[Any]]:
    """Name → shape of every tensor. Source: safetensors' README, "Format"."""
    try:
        (length,) = LENGTH.unpack_from(weights)
        if length > min(LONGEST_HEADER, len(weights)):
            raise ValueError("its header is longer than the file")
        header = json.loads(weights[LENGTH.size : LENGTH.size + length])
        header.pop("__metadata__", None)
        return {name: [*tensor["shape"]] for name, tensor in header.items()}
    except (struct.error, ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
        raise BadCheckpoint(f"The weights are not a safetensors file: {error}.") from error


def _check_split(split: bytes) -> None:
    try:
        for one in json.loads(split)["pictures"]:
            hashes_of(one)
            one["role"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadCheckpoint("The split cannot be read: it must be the one that `umbel train` wrote.") from error

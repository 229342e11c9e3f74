"""A checkpoint that somebody sends: its weights and its card, held against each other before it is registered.

Without torch, so what is read is the files' own words: the weights' hash, the header that safetensors begins with, and
the card. Whether the network runs is tried by the worker that is the first to reindex with it.
"""

import hashlib
import json
import struct
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from umbel.base.errors import BadCheckpoint
from umbel.base.fingerprint import fingerprint
from umbel.models.evaluation import hashes_of
from umbel.models.versions import Candidate

WIDTH = "neck.linear.weight"  # (dim, features); a network without a neck has none
LENGTH = struct.Struct("<Q")  # of the header, in bytes
LONGEST_HEADER = 100_000_000  # safetensors' own limit


class Card(BaseModel):
    """What registering needs of a card; ml/card.py has all of it."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(min_length=1, max_length=200)
    architecture: str = Field(min_length=1, max_length=200)
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

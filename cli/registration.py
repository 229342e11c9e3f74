"""Checkpoints handed to the service, what it made of them, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.config import settings
from cli.model_names import find_model
from cli.output import api_client, print_json, say

if TYPE_CHECKING:
    from umbel_client import Model

# --out of a command that makes a checkpoint to be registered.
checkpoint_folder_option = click.option(
    "--out",
    default="models",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the checkpoint goes.",
)


def register_checkpoint(checkpoint: Path, *, as_json: bool) -> None:
    """Register a checkpoint, its card beside it, and its split if it is there; say what comes next."""
    from ml.card import card_path

    split = checkpoint.with_suffix(".split.json")
    with api_client() as api:
        version = api.models.register(checkpoint, card_path(checkpoint), split if split.is_file() else None)
    show_version(version, "Registered", as_json=as_json)
    if version.state == "registered" and not as_json:
        say(f"To embed every picture with it: umbel reindex {version.id}")


def named_checkpoint(model: str) -> Path:
    """The checkpoint of a registered model, by its id, the beginning of one, or its name; or the file of that path."""
    if Path(model).suffix == ".safetensors":
        return Path(model)
    with api_client() as api:
        return registered_checkpoint(find_model(list(api.models.list()), model).weights_sha256)


def registered_checkpoint(weights_sha256: str) -> Path:
    """The weights of a registered version on this machine, its card beside them, from the blob store."""
    from umbel.base.blobs import blobs
    from umbel.models.checkpoints import fetch_checkpoint

    return fetch_checkpoint(blobs(), weights_sha256, settings().home / "models")


def show_version(version: Model, done: str, *, as_json: bool) -> None:
    """Print what was done with a version, or all about it as JSON."""
    if as_json:
        print_json(version.as_dict())
    else:
        say(f"{done}: {version.name} ({version.id})")

"""The active model version, on this machine: registered if it is the first, loaded by its hash."""

from uuid import UUID

from core.blobs import blobs
from core.settings import Settings
from db import model_versions
from db.session import transaction
from ml.card import card_path, read_card
from ml.checkpoint import find_checkpoint
from ml.runtime import TorchEmbedder, load_embedder
from services.model_versions import Candidate, fetch_checkpoint, register_first


def load_active_model(settings: Settings) -> tuple[TorchEmbedder, UUID]:
    """The embedder of the active version, and the version's id.

    A gallery without a model takes the checkpoint found on this machine as its first; afterwards its weights come
    from the blob store, so that a worker needs nothing but the database and the store.
    Raises ModelNotFound, BadCheckpoint, NotReady.
    """
    with transaction() as session:
        version = model_versions.find_active_version(session)
    if version is None:
        candidate = _candidate(settings)
        with transaction() as session:
            version = register_first(session, blobs(), candidate)
    weights = fetch_checkpoint(blobs(), version.weights_sha256, settings.home / "models")
    return load_embedder(settings.model_copy(update={"checkpoint": weights})), version.id


def _candidate(settings: Settings) -> Candidate:
    weights = find_checkpoint(settings)
    card = read_card(weights)
    return Candidate(
        weights=weights,
        card_file=card_path(weights),
        name=card.name,
        architecture=card.architecture,
        dim=card.dim,
        weights_sha256=card.weights_sha256,
        preprocessing_hash=card.preprocessing_hash,
        card=card.model_dump(mode="json"),
    )

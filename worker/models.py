"""The model versions that a worker has loaded, each by its hash from the blob store when it is first needed."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from uuid import UUID

import numpy as np
import structlog

from ml.card import card_path, read_card
from ml.embedder import NetworkEmbedder
from ml.preprocess import Preprocessing
from ml.runtime import load_embedder
from ml.runtimes.parity import probe_images
from ml.shipped import find_checkpoint
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.errors import BadCheckpoint, TransientError, UmbelError
from umbel.base.progress import Progress
from umbel.base.settings import Settings
from umbel.base.tables import ModelVersion
from umbel.base.types import Decoder, LoadedModel
from umbel.models import versions
from umbel.models.checkpoints import Candidate, fetch_checkpoint, register_first

log = structlog.get_logger()

# The active version, and one more that a reindex fills or that a rollback would return to.
MOST = 2
RETRY_SECONDS = 10.0  # after a version could not be loaded: until then the same error is raised

Fit = Callable[[Preprocessing], Decoder]


class HeldModels:
    """umbel.base.types.Models: at most MOST versions at a time; the least recently used is dropped."""

    def __init__(self, settings: Settings, fit: Fit) -> None:
        """fit: the decoder for a preprocessing."""
        self.loading = Progress()
        self._settings = settings
        self._fit = fit
        self._held: dict[UUID, Future[LoadedModel]] = {}  # the least recently used first
        self._decoders: dict[str, Decoder] = {}  # by preprocessing: models with the same one share a decoder
        self._lock = threading.Lock()

    def load(self, versions: Sequence[UUID]) -> list[LoadedModel]:
        """These versions, loaded if they are not yet; calls for a version that is being loaded wait for it.

        Raises NotReady, TransientError, BadCheckpoint.
        """
        return [self._get(version_id).result() for version_id in versions]

    def _get(self, version_id: UUID) -> Future[LoadedModel]:
        with self._lock:
            known = self._held.pop(version_id, None)
            loading = self._held[version_id] = known or Future()  # now the most recently used
            for oldest in list(self._held)[:-MOST]:
                del self._held[oldest]
        if known is None:
            with self.loading.working():
                self._load(version_id, loading)
        return loading

    def _load(self, version_id: UUID, loading: Future[LoadedModel]) -> None:
        try:
            with transaction() as session:
                version = versions.get_version(session, version_id)
            if same := self._same_checkpoint(version.weights_sha256):
                loading.set_result(replace(same, version_id=version_id))
                return
            embedder = load_version(self._settings, version.weights_sha256)
            loading.set_result(LoadedModel(version_id, embedder, self._decoder(embedder.card.preprocessing)))
        except Exception as error:
            known = isinstance(error, UmbelError)
            loading.set_exception(error if known else TransientError(f"The model cannot be loaded: {error}"))
            forget = threading.Timer(RETRY_SECONDS, self._forget, [version_id, loading])
            forget.daemon = True
            forget.start()

    def _same_checkpoint(self, weights_sha256: str) -> LoadedModel | None:
        """Another version of the checkpoint that is held: one whose vectors are made anew."""
        with self._lock:
            held = [each.result() for each in self._held.values() if each.done() and not each.exception()]
        return next((one for one in held if one.embedder.weights_sha256 == weights_sha256), None)

    def _decoder(self, preprocessing: Preprocessing) -> Decoder:
        with self._lock:
            return self._decoders.setdefault(preprocessing.hash, self._fit(preprocessing))

    def _forget(self, version_id: UUID, failed: Future[LoadedModel]) -> None:
        with self._lock:
            if self._held.get(version_id) is failed:
                del self._held[version_id]


class OneModel:
    """umbel.base.types.Models of a process that has one model, such as a benchmark."""

    def __init__(self, model: LoadedModel) -> None:
        self.loading = Progress()
        self._model = model

    def load(self, versions: Sequence[UUID]) -> list[LoadedModel]:
        """The model, once for each. Raises TransientError for any other version."""
        if any(version_id != self._model.version_id for version_id in versions):
            raise TransientError("This process has one model and loads no other.")
        return [self._model] * len(versions)


def model_works(model: LoadedModel) -> bool:
    """Whether a model gives finite vectors for an image that it could embed when it was loaded."""
    embedder = model.embedder
    assert isinstance(embedder, NetworkEmbedder)  # as `load_version` makes them
    try:
        vectors = embedder.embed([*probe_images(embedder.card.preprocessing.size, count=1)], background=True)
    except Exception as error:
        log.warning("the model fails on a known image", version=str(model.version_id), error=str(error))
        return False
    return bool(np.isfinite(vectors).all())


def load_version(settings: Settings, weights_sha256: str) -> NetworkEmbedder:
    """The embedder of a registered version, tested on images. Raises TransientError, BlobMissing, BadCheckpoint."""
    weights = fetch_checkpoint(blobs(), weights_sha256, settings.home / "models")
    embedder = load_embedder(settings.model_copy(update={"checkpoint": weights}))
    tried = embedder.embed([*probe_images(embedder.card.preprocessing.size)])
    if not np.allclose(np.linalg.norm(tried, axis=1), 1, atol=1e-2):
        raise BadCheckpoint(f"The model {embedder.card.name!r} makes vectors that are not of length 1, or no numbers.")
    return embedder


def ensure_active_version(settings: Settings) -> ModelVersion:
    """The active version. A gallery without a model takes the checkpoint found on this machine as its first.

    Raises ModelNotFound, BadCheckpoint, NotReady.
    """
    with transaction() as session:
        version = versions.find_active_version(session)
    if version is None:
        candidate = candidate_of(settings)
        with transaction() as session:
            version = register_first(session, blobs(), candidate)
    return version


def load_active_model(settings: Settings) -> tuple[NetworkEmbedder, UUID]:
    """The embedder of the active version, and the version's id. Raises what the two functions above raise."""
    version = ensure_active_version(settings)
    return load_version(settings, version.weights_sha256), version.id


def candidate_of(settings: Settings) -> Candidate:
    """The checkpoint that the settings name, or the one that ships. Raises ModelNotFound, BadCheckpoint."""
    weights = find_checkpoint(settings)
    card = read_card(weights)
    return Candidate(
        weights=weights.read_bytes(),
        card_file=card_path(weights).read_bytes(),
        name=card.name,
        architecture=card.architecture,
        dim=card.dim,
        weights_sha256=card.weights_sha256,
        preprocessing_hash=card.preprocessing_hash,
        card=card.model_dump(mode="json"),
    )

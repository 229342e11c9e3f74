"""`umbel.models`: register, describe, activate, roll back and retire model versions."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from umbel_client.answer import Answer
from umbel_client.connection import Connection, form_of
from umbel_client.imports import LARGE_SECONDS
from umbel_client.jobs import Job


class Model(Answer):
    """state: registered, backfilling, ready, active or retired; metrics, domain (what it is for): from its card.

    generation: 2 or more where the same checkpoint had embedded everything before.
    arithmetic: float or int8; None: others compute its vectors.
    """

    id: UUID
    name: str
    architecture: str
    domain: str | None = None
    arithmetic: str | None = None
    dim: int
    weights_sha256: str
    generation: int = 1
    preprocessing_hash: str
    state: str
    metrics: dict[str, Any]
    replaced: UUID | None
    created_at: datetime
    activated_at: datetime | None


class ModelIndex(Answer):
    """rows, dead_rows: vectors, and those of deleted pictures; advice: what would make searches better.

    collections: so many have an index of their own beside it, of collection_bytes together.
    """

    valid: bool
    bytes: int
    rows: int
    dead_rows: int
    m: int
    ef_construction: int
    kind: str
    collections: int = 0
    collection_bytes: int = 0
    advice: str | None


class ModelDetail(Model):
    """A model version with its card and the state of its index."""

    card: dict[str, Any]
    index: ModelIndex | None


class Models:
    """Exactly one version is active; searches use it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Iterator[Model]:
        """The model versions, newest first."""
        return self._connection.pages(Model, "/v1/models")

    def get(self, model_id: UUID) -> ModelDetail:
        """One version: its whole card, and how its index is."""
        return ModelDetail.decode(self._connection.json("GET", f"/v1/models/{model_id}"))

    def register(self, weights: Path, card: Path, split: Path | None = None) -> Model:
        """Register a checkpoint. split: the images it was trained on. The same weights again are the same version."""
        paths = {"weights": weights, "card": card, "split": split}
        files = {field: (path.name, path.read_bytes()) for field, path in paths.items() if path is not None}
        answer = self._connection.json("POST", "/v1/models", repeatable=True, files=files, timeout=LARGE_SECONDS)
        return Model.decode(answer)

    def register_external(self, name: str, dim: int, *, card: dict[str, Any] | None = None) -> Model:
        """Register a model that runs elsewhere, with vectors of `dim` numbers; the same name is the same version."""
        body = {"name": name, "dim": dim, "card": card or {}}
        return Model.decode(self._connection.json("POST", "/v1/models", repeatable=True, json=body))

    def bring_vectors(
        self, model_id: UUID, file: Path | str, *, collection: str | None = None, only_vectors: bool = False
    ) -> Job:
        """Bring vectors of an external model for images of a collection, from a Parquet or npz file.

        The job tells of each row. Labels are set and metadata merged, unless only_vectors.
        """
        form = form_of(collection=collection, only_vectors=only_vectors or None)
        path = f"/v1/models/{model_id}/vectors"
        with Path(file).open("rb") as opened:
            files = {"file": (Path(file).name, opened)}
            answer = self._connection.json("POST", path, data=form, files=files, timeout=LARGE_SECONDS)
        return Job.decode(answer)

    def activate(self, model_id: UUID) -> Model:
        """Let searches use the version from now on. It must have a vector of every image."""
        return self._change(model_id, "activate", repeatable=True)

    def rollback(self, model_id: UUID) -> Model:
        """Return from the active version to the one it replaced, which is the answer."""
        return self._change(model_id, "rollback", repeatable=False)

    def retire(self, model_id: UUID) -> Model:
        """Delete the version's vectors."""
        return self._change(model_id, "retire", repeatable=True)

    def _change(self, model_id: UUID, verb: str, *, repeatable: bool) -> Model:
        answer = self._connection.json("POST", f"/v1/models/{model_id}/{verb}", repeatable=repeatable)
        return Model.decode(answer)

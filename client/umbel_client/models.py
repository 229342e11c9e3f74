"""`umbel.models`: model versions registered, looked at, activated, gone back from, retired."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from umbel_client.answers.models import Model, ModelDetail
from umbel_client.connection import Connection
from umbel_client.imports import LARGE_SECONDS


class Models:
    """Exactly one version is active; searches use it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Iterator[Model]:
        """The model versions, newest first."""
        return (Model.decode(row) for row in self._connection.pages("/v1/models"))

    def get(self, model_id: UUID) -> ModelDetail:
        """One version: its whole card, and how its index is."""
        return ModelDetail.decode(self._connection.json("GET", f"/v1/models/{model_id}"))

    def register(self, weights: Path, card: Path, split: Path | None = None) -> Model:
        """Make a checkpoint known; split: who it was trained on. The same weights again are the same version."""
        paths = {"weights": weights, "card": card, "split": split}
        files = {field: (path.name, path.read_bytes()) for field, path in paths.items() if path is not None}
        answer = self._connection.json("POST", "/v1/models", repeatable=True, files=files, timeout=LARGE_SECONDS)
        return Model.decode(answer)

    def activate(self, model_id: UUID) -> Model:
        """Let searches use it from now on. It must have every picture."""
        return self._change(model_id, "activate", repeatable=True)

    def rollback(self, model_id: UUID) -> Model:
        """Go back from the active version to the one it replaced, which is the answer."""
        return self._change(model_id, "rollback", repeatable=False)

    def retire(self, model_id: UUID) -> Model:
        """Give up its vectors."""
        return self._change(model_id, "retire", repeatable=True)

    def _change(self, model_id: UUID, verb: str, *, repeatable: bool) -> Model:
        answer = self._connection.json("POST", f"/v1/models/{model_id}/{verb}", repeatable=repeatable)
        return Model.decode(answer)

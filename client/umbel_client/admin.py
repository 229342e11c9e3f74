"""`umbel.admin`: reindexes, measurements of recall and the audit log, for operators."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from umbel_client.answer import Answer
from umbel_client.connection import Connection, given
from umbel_client.jobs import Jobs, Work


class RecallStep(Answer):
    """recall: share of the k nearest that the index finds with this ef_search; ms: median of such a search."""

    ef_search: int
    recall: float
    ms: float


class Recall(Answer):
    """The share of an exact search's results that the index finds, as measured. Milliseconds are medians."""

    id: UUID
    model_version: UUID
    collection: str | None
    k: int
    sample: int
    ef_search: int
    recall: float
    index_ms: float
    exact_ms: float
    ef_for_95: int | None
    ef_for_99: int | None
    steps: list[RecallStep]
    created_at: datetime


class AuditEvent(Answer):
    """What an administrator did. action: a stable word; status: of the answer, None: not known to have ended."""

    id: UUID
    at: datetime
    actor: str
    action: str
    target: str
    details: dict[str, Any]
    status: int | None
    request_id: str | None
    address: str | None


class Admin:
    """Reindexes, measurements of the index, and the audit log."""

    def __init__(self, connection: Connection, jobs: Jobs) -> None:
        self._connection, self._jobs = connection, jobs

    def reindex(
        self,
        *,
        mode: Literal["embeddings", "index"] = "embeddings",
        model_version: UUID | None = None,
        activate: bool | None = None,
        max_drop: float | None = None,
        m: int | None = None,
        ef_construction: int | None = None,
        kind: Literal["halfvec", "bits"] | None = None,
    ) -> Work:
        """Embed every image with a model version, or rebuild the index of the active one.

        model_version: None: the active one again. activate, max_drop: switch to it unless it is worse by more than
        that; activate None: only if it is the active one again. m, ef_construction, kind: of the index; None: as it is;
        max_drop also of what an index of another kind finds.
        """
        version = str(model_version) if model_version else None
        body = given(
            mode=mode,
            model_version=version,
            activate=activate,
            max_drop=max_drop,
            m=m,
            ef_construction=ef_construction,
            kind=kind,
        )
        return self._jobs.begin("POST", "/v1/admin/reindex", json=body)

    def measure_recall(self, *, k: int = 10, sample: int = 100, collection: str | None = None) -> Recall:
        """Measure the recall of the index against exact searches: twenty seconds at most.

        collection: searches within it; None: in the whole gallery.
        """
        body = {"k": k, "sample": sample} | given(collection=collection)
        answer = self._connection.json("POST", "/v1/admin/recall", repeatable=True, json=body)
        return Recall.decode(answer)

    def recalls(self) -> Iterator[Recall]:
        """The measurements, newest first."""
        return self._connection.pages(Recall, "/v1/admin/recall")

    def audit(self) -> Iterator[AuditEvent]:
        """The audit log, newest first."""
        return self._connection.pages(AuditEvent, "/v1/admin/audit")

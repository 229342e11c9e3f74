"""`umbel.admin`: what the operator of a service wants to know, and to have done."""

from collections.abc import Iterator
from typing import Literal
from uuid import UUID

from umbel_client.answers.service import Recall
from umbel_client.connection import Connection, given
from umbel_client.jobs import Jobs
from umbel_client.work import Work


class Admin:
    """Reindexes, and measurements of the index."""

    def __init__(self, connection: Connection, jobs: Jobs) -> None:
        self._connection, self._jobs = connection, jobs

    def reindex(
        self,
        *,
        mode: Literal["embeddings", "index"] = "embeddings",
        model_version: UUID | None = None,
        activate: bool = False,
        max_drop: float | None = None,
        m: int | None = None,
        ef_construction: int | None = None,
    ) -> Work:
        """Have every picture embedded with another model version, or the active index built anew.

        activate, max_drop: switch to it unless it is worse by more than that. m, ef_construction: of the index.
        """
        version = str(model_version) if model_version else None
        body = given(mode=mode, model_version=version, max_drop=max_drop, m=m, ef_construction=ef_construction)
        if activate:
            body["activate"] = True
        return self._jobs.work(UUID(self._connection.json("POST", "/v1/admin/reindex", json=body)["job_id"]))

    def measure_recall(self, *, k: int = 10, sample: int = 100) -> Recall:
        """Measure the recall of the index against exact searches: twenty seconds at most."""
        answer = self._connection.json("POST", "/v1/admin/recall", repeatable=True, json={"k": k, "sample": sample})
        return Recall.decode(answer)

    def recalls(self) -> Iterator[Recall]:
        """What was measured, newest first."""
        return (Recall.decode(row) for row in self._connection.pages("/v1/admin/recall"))

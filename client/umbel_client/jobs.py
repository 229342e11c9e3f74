"""`umbel.jobs`: follow, list, cancel, retry, pause and resume jobs."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from umbel_client.answer import Answer
from umbel_client.connection import Connection
from umbel_client.errors import StillRunning

LONGEST_WAIT_SECONDS = 25.0  # of one request
BUSY_PAUSE_SECONDS = 0.5


class Counts(Answer):
    """total = pending + indexed + duplicate + failed + cancelled, always."""

    total: int
    pending: int
    indexed: int
    duplicate: int
    failed: int
    cancelled: int


class Source(Answer):
    """What a worker imports from, and what it found there so far.

    error: why it cannot be reached now, or was given up; tries: how often in a row that was so.
    """

    type: str
    listed: int
    rejected: int
    skipped: int
    skipped_by_kind: dict[str, int]
    location: str | None = None  # the folder or bucket; of a list, what its paths are relative to
    done: bool
    dry_run: bool
    error: str | None
    tries: int
    next_try: datetime | None


class IndexProgress(Answer):
    """How far the build of an index is: `done` of `total` in this phase."""

    phase: str
    done: int
    total: int


class Reindex(Answer):
    """mode: "embeddings" or "index"; report: what came of it, once there is something to tell."""

    mode: Literal["embeddings", "index"]
    phase: str
    activate: bool
    max_drop: float
    eta_seconds: float | None
    report: dict[str, Any] | None

    @property
    def switched(self) -> bool:
        """Whether what it made is used: its version is the active one, or its index the version's."""
        return bool(self.report and self.report.get("switched"))


class Job(Answer):
    """The state of a job: what is counted, what went wrong, since when."""

    id: UUID
    type: str
    status: Literal["queued", "running", "succeeded", "partial", "failed", "cancelled"]
    collection: str | None = None  # that it is about; None: all
    first_name: str | None = None  # of the first picture that it was given
    # Of an unfinished job: cancelling, retrying, paused, listing, embedding, indexing, evaluating, switching …
    phase: str | None = None
    paused: bool = False
    source: Source | None = None
    index: IndexProgress | None = None
    reindex: Reindex | None = None
    model_version: UUID | None = None
    counts: Counts
    error_code: str | None = None  # why, if it failed, for programs; error: for people
    error: str | None
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def finished(self) -> bool:
        """Whether it has come to its end, whatever that was."""
        return self.finished_at is not None


class Item(Answer):
    """One image of a job. error_code: stable; error: for people."""

    id: UUID
    image_id: UUID | None
    name: str | None
    status: str
    error_code: str | None
    error: str | None
    note: str | None  # what is to be said of a damaged image that was taken


@dataclass(frozen=True, slots=True)
class Work:
    """A job that was begun: `job()` is its present state, `wait()` its end."""

    job_id: UUID
    _jobs: "Jobs"

    def job(self) -> Job:
        """Its present state."""
        return self._jobs.get(self.job_id)

    def wait(self, timeout: float | None = None) -> Job:
        """The finished job, however it ended: see its `status`, `counts` and `error`. timeout: seconds.

        Raises StillRunning.
        """
        job = self._jobs.get(self.job_id, wait=timeout)
        if not job.finished:
            raise StillRunning(f"Job {job.id} is still {job.status} after {timeout} seconds.")
        return job


class Jobs:
    """Every import, upload, reindex, comparison and deletion is a job."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, job_id: UUID, *, wait: float | None = 0) -> Job:
        """The job, once it has finished or `wait` seconds are over. None: wait until it has finished."""
        deadline = None if wait is None else time.monotonic() + wait
        while True:
            asked = time.monotonic()
            patience = (
                LONGEST_WAIT_SECONDS if deadline is None else min(max(0.0, deadline - asked), LONGEST_WAIT_SECONDS)
            )
            job = Job.decode(self._connection.json("GET", f"/v1/jobs/{job_id}", params={"wait": patience}))
            now = time.monotonic()
            if job.finished or (deadline is not None and now >= deadline):
                return job
            if now - asked < patience / 2:  # the API was too busy to keep the request waiting
                time.sleep(BUSY_PAUSE_SECONDS if deadline is None else min(BUSY_PAUSE_SECONDS, deadline - now))

    def list(self, *, status: str | None = None, type: str | None = None) -> Iterator[Job]:
        """All jobs, newest first."""
        return self._connection.pages(Job, "/v1/jobs", status=status, type=type)

    def items(self, job_id: UUID, *, status: str | None = None) -> Iterator[Item]:
        """The job's images with the outcome of each, in the order they came."""
        return self._connection.pages(Item, f"/v1/jobs/{job_id}/items", status=status)

    def items_csv(self, job_id: UUID, *, status: str | None = None) -> str:
        """The same as CSV."""
        params = {"status": status} if status else {}
        return self._connection.request("GET", f"/v1/jobs/{job_id}/items.csv", params=params).text

    def close(self, job_id: UUID) -> Job:
        """Say that an import has all its pictures."""
        return self._change(job_id, "close")

    def cancel(self, job_id: UUID) -> Job:
        """End the job where it stands."""
        return self._change(job_id, "cancel")

    def retry(self, job_id: UUID) -> Job:
        """Try the job's failed images once more."""
        return self._change(job_id, "retry")

    def pause(self, job_id: UUID) -> Job:
        """Stop working on the job until it is resumed."""
        return self._change(job_id, "pause")

    def resume(self, job_id: UUID) -> Job:
        """Continue a paused job."""
        return self._change(job_id, "resume")

    def work(self, job_id: UUID) -> Work:
        """A handle to wait with."""
        return Work(job_id, self)

    def begin(self, method: str, path: str, **options: Any) -> Work:
        """The job that a request begins."""
        return self.work(UUID(self._connection.json(method, path, **options)["job_id"]))

    def _change(self, job_id: UUID, verb: str) -> Job:
        # Each of these is harmless when done twice.
        return Job.decode(self._connection.json("POST", f"/v1/jobs/{job_id}/{verb}", repeatable=True))

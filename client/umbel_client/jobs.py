"""`umbel.jobs`: followed, listed, steered."""

import time
from collections.abc import Iterator
from uuid import UUID

from umbel_client.answers.jobs import Item, Job
from umbel_client.connection import Connection
from umbel_client.work import Work

LONGEST_WAIT_SECONDS = 25.0  # of one request
BUSY_PAUSE_SECONDS = 0.5


class Jobs:
    """Every import, upload, reindex, comparison and deletion is a job."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, job_id: UUID, *, wait: float | None = 0) -> Job:
        """The job, once it has finished or `wait` seconds are over; None: however long it takes."""
        deadline = None if wait is None else time.monotonic() + wait
        while True:
            asked = time.monotonic()
            patience = LONGEST_WAIT_SECONDS if deadline is None else min(max(0.0, deadline - asked), 25.0)
            job = Job.decode(self._connection.json("GET", f"/v1/jobs/{job_id}", params={"wait": patience}))
            now = time.monotonic()
            if job.finished or (deadline is not None and now >= deadline):
                return job
            if now - asked < patience / 2:  # the API was too busy to let us wait there
                time.sleep(BUSY_PAUSE_SECONDS if deadline is None else min(BUSY_PAUSE_SECONDS, deadline - now))

    def list(self, *, status: str | None = None, type: str | None = None) -> Iterator[Job]:
        """All jobs, newest first."""
        rows = self._connection.pages("/v1/jobs", status=status, type=type)
        return (Job.decode(row) for row in rows)

    def items(self, job_id: UUID, *, status: str | None = None) -> Iterator[Item]:
        """The job's pictures with what became of each, in the order they came."""
        return (Item.decode(row) for row in self._connection.pages(f"/v1/jobs/{job_id}/items", status=status))

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
        """Try its failed pictures once more."""
        return self._change(job_id, "retry")

    def pause(self, job_id: UUID) -> Job:
        """Let it wait until it is resumed."""
        return self._change(job_id, "pause")

    def resume(self, job_id: UUID) -> Job:
        """Go on with a paused job."""
        return self._change(job_id, "resume")

    def work(self, job_id: UUID) -> Work:
        """A handle to wait with."""
        return Work(job_id, lambda job, wait: self.get(job, wait=wait))

    def _change(self, job_id: UUID, verb: str) -> Job:
        # Each of these is harmless when done twice.
        return Job.decode(self._connection.json("POST", f"/v1/jobs/{job_id}/{verb}", repeatable=True))

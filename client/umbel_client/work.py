"""What a request began and a worker goes on with: to be looked at, or waited for."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from umbel_client.answers.images import Image
from umbel_client.answers.jobs import Item, Job
from umbel_client.errors import NotIndexed, StillRunning

POLL_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Work:
    """A job that was begun. `job()` is how it is now, `wait()` how it ended."""

    job_id: UUID
    _look: Callable[[UUID, float | None], Job]

    def job(self) -> Job:
        return self._look(self.job_id, 0)

    def wait(self, timeout: float | None = None) -> Job:
        """The finished job, however it ended: see its `status`, `counts` and `error`. timeout: seconds.

        Raises StillRunning.
        """
        job = self._look(self.job_id, timeout)
        if not job.finished:
            raise StillRunning(f"Job {job.id} is still {job.status} after {timeout} seconds.")
        return job


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture that was taken. status "duplicate": the collection had these bytes already, as `image_id`."""

    image_id: UUID
    job_id: UUID | None
    status: Literal["queued", "duplicate"]
    _image: Callable[[UUID], Image]
    _look: Callable[[UUID, float | None], Job] | None  # none: the job is of many pictures and need not end soon
    _failure: Callable[[UUID, UUID], Item | None]

    def wait(self, timeout: float | None = None) -> Image:
        """The image, once searches can find it. timeout: seconds. Raises NotIndexed, StillRunning."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._look and self.job_id:
            self._look(self.job_id, timeout)
        while (image := self._image(self.image_id)).status == "pending":
            if deadline is not None and time.monotonic() >= deadline:
                raise StillRunning(f"Image {self.image_id} is still waiting after {timeout} seconds.")
            time.sleep(POLL_SECONDS)
        if image.status != "indexed":
            item = self._failure(self.job_id, self.image_id) if self.job_id else None
            reason = (item and item.error) or f"Image {self.image_id} was not indexed: {image.status}."
            raise NotIndexed(reason, (item and item.error_code) or image.status)
        return image

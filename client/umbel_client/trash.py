"""`umbel.trash`: removed images, which can be restored for some days."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from umbel_client.answer import Answer
from umbel_client.connection import Connection, as_text, given
from umbel_client.jobs import Jobs, Work


class TrashedImage(Answer):
    """purged_at: from when on it cannot be restored; job_id: the job that removed it, if one did."""

    image_id: UUID
    collection: str
    name: str | None
    external_id: str | None
    label: str | None
    metadata: dict[str, Any]
    sha256: str
    size: int
    created_at: datetime
    trashed_at: datetime
    purged_at: datetime
    job_id: UUID | None


def chosen(
    ids: Sequence[UUID] | None,
    filter: dict[str, Any] | None,
    collection: str | None,
    job_id: UUID | None = None,
) -> dict[str, Any]:
    """The body of a request that is about many images."""
    named = None if ids is None else [str(each) for each in ids]
    return given(ids=named, filter=filter, collection=collection, job_id=job_id and str(job_id))


class Trash:
    """Removed images. `images.delete` and `images.delete_many` put them here."""

    def __init__(self, connection: Connection, jobs: Jobs) -> None:
        self._connection, self._jobs = connection, jobs

    def list(
        self,
        *,
        collection: str | None = None,
        filter: dict[str, Any] | None = None,
        job_id: UUID | None = None,
        page_size: int | None = None,
    ) -> Iterator[TrashedImage]:
        """What can be restored, the newest image first. job_id: only what this job removed."""
        filters = {"collection": collection, "filter": as_text(filter), "job_id": job_id and str(job_id)}
        return self._connection.pages(TrashedImage, "/v1/trash", **filters, limit=page_size)

    def restore(
        self,
        ids: Sequence[UUID] | None = None,
        *,
        filter: dict[str, Any] | None = None,
        job_id: UUID | None = None,
        collection: str | None = None,
    ) -> Work:
        """Bring images back: these (at most 10,000), those that pass a filter, or all that a job removed."""
        return self._jobs.begin("POST", "/v1/trash:restore", json=chosen(ids, filter, collection, job_id))

    def purge(
        self,
        ids: Sequence[UUID] | None = None,
        *,
        filter: dict[str, Any] | None = None,
        job_id: UUID | None = None,
        collection: str | None = None,
    ) -> Work:
        """Remove images of the trash for ever, chosen as `restore` does; needs a key of the scope `admin`."""
        return self._jobs.begin("DELETE", "/v1/trash", json=chosen(ids, filter, collection, job_id))

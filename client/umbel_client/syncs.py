"""`umbel.syncs`: folders of the server and buckets that are followed."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from umbel_client.answer import Answer
from umbel_client.connection import Connection, given
from umbel_client.jobs import Jobs, Work


class Report(Answer):
    """How many files a run found of each kind; …_files: of a dry run, the first hundred of them."""

    new: int = 0
    changed: int = 0
    renamed: int = 0
    vanished: int = 0
    unchanged: int = 0
    failed: int = 0
    new_files: list[str] | None = None
    changed_files: list[str] | None = None
    vanished_files: list[str] | None = None


class SyncRun(Answer):
    """A run of a sync. error: why nothing was removed, or not all listed."""

    job_id: UUID
    status: str
    dry_run: bool
    report: Report
    error_code: str | None = None  # stable
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class Sync(Answer):
    """A source that is followed. files: whose images are known; max_vanished: a share of them."""

    id: UUID
    type: Literal["folder", "s3"]
    location: str
    include_hidden: bool
    in_place: bool
    collection: str
    label_from_folder: bool
    every_seconds: int
    max_vanished: float
    adopt: bool
    paused: bool
    files: int
    next_run: datetime
    last_run: SyncRun | None
    created_by: str
    created_at: datetime


class Syncs:
    """Sources that are listed every so often: what is new or changed is imported, what is gone removed."""

    def __init__(self, connection: Connection, jobs: Jobs) -> None:
        self._connection, self._jobs = connection, jobs

    def add(
        self,
        source: str,
        *,
        collection: str | None = None,
        every_seconds: int | None = None,
        label_from_folder: bool = False,
        include_hidden: bool = False,
        in_place: bool = False,
        max_vanished: float | None = None,
        adopt: bool = False,
        paused: bool = False,
    ) -> Sync:
        """Follow a folder of the server or s3://bucket/prefix, below UMBEL_IMPORT_ROOTS. The first run begins at once.

        paused: not before it is resumed; `run` with dry_run tells what the first one would do.

        max_vanished: a run that misses more than this share of the known files removes nothing, 0.5 unless given.
        adopt: images that are there already are removed, too, when their files are gone. include_hidden,
        in_place, label_from_folder: as of an import.
        """
        place = {"type": "s3", "url": source} if source.startswith("s3://") else {"type": "folder", "path": source}
        body = given(collection=collection, every_seconds=every_seconds, max_vanished=max_vanished)
        body |= {"source": place | {"include_hidden": include_hidden, "in_place": in_place}, "adopt": adopt}
        body |= {"label_from_folder": label_from_folder, "paused": paused}
        return Sync.decode(self._connection.json("POST", "/v1/syncs", json=body))

    def list(self, *, page_size: int | None = None) -> Iterator[Sync]:
        """All syncs, newest first."""
        return self._connection.pages(Sync, "/v1/syncs", limit=page_size)

    def get(self, sync_id: UUID) -> Sync:
        """One sync, with its last run."""
        return Sync.decode(self._connection.json("GET", f"/v1/syncs/{sync_id}"))

    def change(self, sync_id: UUID, *, every_seconds: int | None = None, max_vanished: float | None = None) -> Sync:
        """Change how often it runs, or how many files may vanish at once."""
        changes = given(every_seconds=every_seconds, max_vanished=max_vanished)
        return Sync.decode(self._connection.json("PATCH", f"/v1/syncs/{sync_id}", repeatable=True, json=changes))

    def run(self, sync_id: UUID, *, dry_run: bool = False, allow_vanished: bool = False) -> Work:
        """Run it now. `.wait()` on the result, then `get(sync_id).last_run` tells what it did.

        dry_run: only to tell what it would do. allow_vanished: remove what is gone, however much that is.
        """
        body: dict[str, Any] = {"dry_run": dry_run, "allow_vanished": allow_vanished}
        return self._jobs.begin("POST", f"/v1/syncs/{sync_id}/run", json=body)

    def pause(self, sync_id: UUID) -> Sync:
        """Begin no more runs until it is resumed."""
        return self._do(sync_id, "pause")

    def resume(self, sync_id: UUID) -> Sync:
        """Begin runs again, at once if one is due."""
        return self._do(sync_id, "resume")

    def remove(self, sync_id: UUID) -> None:
        """Follow the source no longer. Its images stay."""
        self._connection.request("DELETE", f"/v1/syncs/{sync_id}")

    def _do(self, sync_id: UUID, verb: str) -> Sync:
        return Sync.decode(self._connection.json("POST", f"/v1/syncs/{sync_id}/{verb}", repeatable=True))

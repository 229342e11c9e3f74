"""`umbel.imports`: one job for many images, uploaded one by one or read by the workers from a source."""

from pathlib import Path
from typing import Any
from uuid import UUID

from umbel_client.connection import Connection, form_of
from umbel_client.jobs import Jobs, Work

LARGE_SECONDS = 3600.0  # for the answer to a file that may be a gigabyte


class Imports:
    """Each method returns at once; call `.wait()` on the result."""

    def __init__(self, connection: Connection, jobs: Jobs) -> None:
        self._connection, self._jobs = connection, jobs

    def open(self, *, collection: str = "default") -> UUID:
        """The id of a job that many uploads can share; `jobs.close` it after the last."""
        body = {"source": {"type": "upload"}, "collection": collection}
        # A job opened by a repeated request stays empty, and the server closes it.
        return UUID(self._connection.json("POST", "/v1/imports", repeatable=True, json=body)["job_id"])

    def folder(
        self, path: str, *, collection: str = "default", label_from_folder: bool = False, dry_run: bool = False
    ) -> Work:
        """Let the workers read a folder of the server, below its UMBEL_IMPORT_ROOTS. dry_run: only list it."""
        return self._source({"type": "folder", "path": path}, collection, label_from_folder, dry_run)

    def s3(
        self, url: str, *, collection: str = "default", label_from_folder: bool = False, dry_run: bool = False
    ) -> Work:
        """Let the workers read a bucket, s3://bucket/prefix, below UMBEL_IMPORT_ROOTS. dry_run: only list it."""
        return self._source({"type": "s3", "url": url}, collection, label_from_folder, dry_run)

    def file(
        self,
        path: Path | str,
        *,
        collection: str = "default",
        label_from_folder: bool = False,
        dry_run: bool = False,
        base: str | None = None,
    ) -> Work:
        """Upload an archive of pictures (zip, tar), or a list of them (.csv, .jsonl), in one piece.

        base: what the paths of a list are relative to. Not tried again once the connection broke in the middle.
        """
        form = form_of(collection=collection, label_from_folder=label_from_folder, dry_run=dry_run, base=base)
        with Path(path).open("rb") as file:
            files = {"file": (Path(path).name, file)}
            return self._jobs.begin("POST", "/v1/imports", data=form, files=files, timeout=LARGE_SECONDS)

    def _source(self, source: dict[str, Any], collection: str, label_from_folder: bool, dry_run: bool) -> Work:
        options = {"collection": collection, "label_from_folder": label_from_folder, "dry_run": dry_run}
        return self._jobs.begin("POST", "/v1/imports", json={"source": source, **options})

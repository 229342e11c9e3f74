"""`umbel.imports`: one job for many images, uploaded one by one or read by the workers from a source."""

from pathlib import Path
from typing import Any, TypedDict, Unpack
from uuid import UUID

from umbel_files.names import printable

from umbel_client.connection import Connection, form_of, given
from umbel_client.jobs import Jobs, Work

LARGE_SECONDS = 3600.0  # for the answer to a file that may be a gigabyte


class ImportOptions(TypedDict, total=False):
    """collection: left out: that of the key, if it is for one; else `default`.

    label_from_folder: label each picture with the name of its folder; dry_run: only list.

    include_hidden: also take what is hidden, or kept beside pictures by systems and programs.
    """

    collection: str | None
    label_from_folder: bool
    dry_run: bool
    include_hidden: bool


class PlacedOptions(ImportOptions, total=False):
    """in_place: leave the images where they are instead of copying them into the blob store."""

    in_place: bool


class Imports:
    """Each method returns at once; call `.wait()` on the result."""

    def __init__(self, connection: Connection, jobs: Jobs) -> None:
        self._connection, self._jobs = connection, jobs

    def open(self, *, collection: str | None = None) -> UUID:
        """The id of a job that many uploads can share; `jobs.close` it after the last."""
        body = given(source={"type": "upload"}, collection=collection)
        # A job opened by a repeated request stays empty, and the server closes it.
        return UUID(self._connection.json("POST", "/v1/imports", repeatable=True, json=body)["job_id"])

    def folder(self, path: str, **options: Unpack[PlacedOptions]) -> Work:
        """Let the workers read a folder of the server, below its UMBEL_IMPORT_ROOTS."""
        return self._source(options, type="folder", path=path)

    def s3(self, url: str, **options: Unpack[PlacedOptions]) -> Work:
        """Let the workers read a bucket, s3://bucket/prefix, below UMBEL_IMPORT_ROOTS."""
        return self._source(options, type="s3", url=url)

    def file(self, path: Path | str, *, base: str | None = None, **options: Unpack[ImportOptions]) -> Work:
        """Upload an archive of pictures (zip, tar), or a list of them (CSV, JSON Lines), in one piece.

        base: what the paths of a list are relative to. Not tried again once the connection broke in the middle.
        """
        with Path(path).open("rb") as file:
            files = {"file": (printable(Path(path).name), file)}
            form = form_of(base=base, **options)
            return self._jobs.begin("POST", "/v1/imports", data=form, files=files, timeout=LARGE_SECONDS)

    def _source(self, options: PlacedOptions, **source: str) -> Work:
        others: dict[str, Any] = {**options}
        flags = {name: others.pop(name, False) for name in ("include_hidden", "in_place")}
        body = given(source={**source, **flags}, **others)
        return self._jobs.begin("POST", "/v1/imports", json=body)

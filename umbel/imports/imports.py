"""Opening imports: of pictures that are sent one by one, or of a source that workers read themselves."""

from pathlib import PurePath
from typing import IO, Any
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.settings import Settings
from umbel.base.types import JobType
from umbel.gallery import blob_cleanups, collections
from umbel.imports import source_rows
from umbel.imports.sources import (
    ArchiveSource,
    ManifestSource,
    SourceSpec,
    open_source,
    receive_archive,
    receive_manifest,
)
from umbel.jobs import jobs

MANIFESTS = (".csv", ".jsonl", ".ndjson")
LONGEST_UPLOAD_SECONDS = 6 * 3600.0


def open_import(session: Session, collection: str) -> UUID:
    """A job that takes pictures until it is closed."""
    collection_id = collections.upsert_collection(session, collection)
    return jobs.insert_job(session, JobType.IMPORT, collection_id=collection_id, closed=False)


def import_source(
    transaction: Transaction,
    blobs: Blobs,
    settings: Settings,
    spec: SourceSpec,
    *,
    collection: str,
    label_from_folder: bool,
    dry_run: bool,
    notes: list[UUID] | None = None,
) -> UUID:
    """A job for everything that a source has; dry_run: only to tell what that would be.

    notes: those of the source's own bytes, if it was uploaded. Raises SourceError where it cannot be opened.
    """
    open_source(spec, blobs, settings).close()  # what is wrong with it is better said now than in the job
    described: dict[str, Any] = spec.model_dump(mode="json")
    with transaction() as session:
        blob_cleanups.take_cleanups(session, notes or [])
        job_id = open_import(session, collection)
        source_rows.insert_source(session, job_id, described, label_from_folder=label_from_folder, dry_run=dry_run)
    return job_id


def import_upload(
    transaction: Transaction,
    blobs: Blobs,
    settings: Settings,
    stream: IO[bytes],
    *,
    name: str,
    collection: str,
    label_from_folder: bool,
    dry_run: bool,
    base: str | None = None,
) -> UUID:
    """A job for an archive or a list (.csv, .jsonl) of pictures, told apart by their file's name.

    base: what the paths of a list are relative to. Raises SourceError, StorageFull.
    """
    key = f"imports/{uuid4().hex}"
    with transaction() as session:
        notes = blob_cleanups.insert_cleanups(session, [key], patience_seconds=LONGEST_UPLOAD_SECONDS)
    try:
        spec = _received(blobs, settings, key, stream, name=name, base=base)
        options: dict[str, Any] = {"label_from_folder": label_from_folder, "dry_run": dry_run, "notes": notes}
        return import_source(transaction, blobs, settings, spec, collection=collection, **options)
    except BaseException:
        with transaction() as session:  # now, rather than when the patience with it is over
            blob_cleanups.hasten_cleanups(session, notes)
        raise


def _received(
    blobs: Blobs, settings: Settings, key: str, stream: IO[bytes], *, name: str, base: str | None
) -> ArchiveSource | ManifestSource:
    if PurePath(name).suffix.lower() in MANIFESTS:
        return ManifestSource(blob_key=key, format=receive_manifest(stream, blobs, key, settings), base=base)
    return ArchiveSource(type=receive_archive(stream, blobs, key, settings), blob_key=key)

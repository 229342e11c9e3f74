"""Opening imports: of pictures that are sent one by one, or of a source that workers read themselves."""

import os
from collections.abc import Sequence
from typing import IO, Any
from uuid import UUID, uuid4

from sqlalchemy.orm import Session
from umbel_files.names import is_list

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
from umbel.jobs.idempotency import FirstAnswer, KeyedRequest, find_first_answer, insert_answers

LONGEST_UPLOAD_SECONDS = 6 * 3600.0


def open_import(session: Session, collection: str, *, request: KeyedRequest | None = None) -> UUID:
    """A job that takes images until it is closed; the first one if `request` is repeated.

    Raises IdempotencyKeyReused.
    """
    first = find_first_answer(session, request)
    return first.job_id if first else _insert_import(session, collection, request)


def import_source(
    transaction: Transaction,
    blobs: Blobs,
    settings: Settings,
    spec: SourceSpec,
    *,
    collection: str,
    label_from_folder: bool,
    dry_run: bool,
    roots: Sequence[str] | None = None,
    request: KeyedRequest | None = None,
    cleanups: Sequence[UUID] = (),
) -> UUID:
    """A job for everything that a source has; the first one if `request` is repeated.

    dry_run: only to tell what that would be. roots: see `open_source`. cleanups: of the source's own bytes, if it was
    uploaded.
    Raises SourceError where it cannot be opened, IdempotencyKeyReused.
    """
    with transaction() as session:
        if first := find_first_answer(session, request):
            return first.job_id
    open_source(spec, blobs, settings, roots=roots).close()  # what is wrong with it is better said now than in the job
    with transaction() as session:
        if first := find_first_answer(session, request):  # it came twice at once
            return first.job_id
        blob_cleanups.take_cleanups(session, cleanups)
        job_id = _insert_import(session, collection, request)
        described: dict[str, Any] = spec.model_dump(mode="json")
        source_rows.insert_source(
            session, job_id, described, label_from_folder=label_from_folder, dry_run=dry_run, roots=roots
        )
    return job_id


def import_upload(
    transaction: Transaction,
    blobs: Blobs,
    settings: Settings,
    stream: IO[bytes],
    *,
    name: str,
    base: str | None = None,
    include_hidden: bool = False,
    spent: bool = False,
    request: KeyedRequest | None = None,
    **options: Any,
) -> UUID:
    """A job for an archive or a list of images, told apart by their file's name (`is_list`).

    base: what the paths of a list are relative to; include_hidden: see ArchiveSource. spent: what is read of the stream
    gives its room back to the blob store. options: of `import_source`.
    Raises as that does, and StorageFull.
    """
    key = f"imports/{uuid4().hex}"
    with transaction() as session:
        if first := find_first_answer(session, request):
            return first.job_id
    size = stream.seek(0, os.SEEK_END)
    blobs.check_room(0 if spent else size)  # rather than when most of it is copied
    stream.seek(0)
    with transaction() as session:
        cleanups = blob_cleanups.insert_cleanups(session, [key], patience_seconds=LONGEST_UPLOAD_SECONDS)
    try:
        spec: ArchiveSource | ManifestSource
        if is_list(name):
            receive_manifest(stream, blobs, key, settings)
            spec = ManifestSource(blob_key=key, base=base)
        else:
            kind = receive_archive(stream, blobs, key, settings)
            spec = ArchiveSource(type=kind, blob_key=key, include_hidden=include_hidden)
        return import_source(transaction, blobs, settings, spec, request=request, cleanups=cleanups, **options)
    except BaseException:
        with transaction() as session:  # now, rather than when the patience with it is over
            blob_cleanups.hasten_cleanups(session, cleanups)
        raise


def _insert_import(session: Session, collection: str, request: KeyedRequest | None) -> UUID:
    collection_id = collections.upsert_collection(session, collection)
    job_id = jobs.insert_job(session, JobType.IMPORT, collection_id=collection_id, closed=False)
    if request:
        insert_answers(session, {request: FirstAnswer(job_id)})
    return job_id

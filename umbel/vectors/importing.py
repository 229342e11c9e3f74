"""Vectors brought in: for images of a collection, under an external version, with a job that tells of each row."""

from functools import partial
from typing import IO
from uuid import UUID

import structlog

from umbel.base.database import Transaction
from umbel.base.errors import BadVectors, Conflict, UmbelError
from umbel.base.settings import Settings
from umbel.base.types import JobType
from umbel.gallery import collections
from umbel.jobs import jobs
from umbel.jobs.outcomes import retry_transient
from umbel.models import versions
from umbel.models.indexing import leave_out_index
from umbel.vectors.npz import NpzVectors
from umbel.vectors.parquet import ParquetVectors
from umbel.vectors.rows import VectorFile
from umbel.vectors.storing import Destination

log = structlog.get_logger()


def open_vectors(file: IO[bytes]) -> VectorFile:
    """The file, by what its bytes are: Parquet or npz. Raises BadVectors, NotInstalled."""
    begin = file.read(4)
    file.seek(0)
    if begin == b"PAR1":
        return ParquetVectors(file)
    if begin[:2] == b"PK":
        return NpzVectors(file)
    raise BadVectors("The file is neither Parquet nor npz.")


def import_vectors(
    transaction: Transaction,
    settings: Settings,
    file: VectorFile,
    *,
    version_id: UUID,
    collection: str,
    only_vectors: bool = False,
) -> UUID:
    """Store the file's vectors under an external version for images of a collection; the job, each row an item of it.

    A vector that is there already is replaced. Labels of the file are set and metadata merged (JSON Merge Patch), but
    for only_vectors. A row that names no image of the collection, or has no usable vector, is a failed item.
    Batches are stored as they are read: after an interruption, bring the file again.
    Raises NotFound, Conflict for a version that is not external, BadVectors, NotReady.
    """
    with transaction() as session:
        version = versions.get_version_to_use(session, version_id)
        if not version.is_external:
            raise Conflict(f"Workers compute the vectors of the model {version.name!r}; register an external one.")
        if file.count and file.dim != version.dim:
            raise BadVectors(f"The vectors have {file.dim} numbers, those of the model {version.name!r} {version.dim}.")
        collection_id = collections.get_collection(session, collection)
        job_id = jobs.insert_job(
            session, JobType.IMPORT, closed=False, collection_id=collection_id, model_version_id=version_id
        )
        if file.count >= settings.defer_index_above:
            leave_out_index(session, job_id, version_id, images=file.count)
    destination = Destination(job_id, version_id, version.dim, collection_id, only_vectors)
    try:
        for given in file.batches():
            retry_transient(partial(destination.store, transaction, given))
    except UmbelError as error:
        with transaction() as session:
            jobs.set_error(session, job_id, error)
        raise
    finally:
        with transaction() as session:
            jobs.close_job(session, job_id)
    log.info("vectors imported", job_id=str(job_id), model_version_id=str(version_id), rows=file.count)
    return job_id

"""/v1/imports: one job for many pictures, sent one by one or read by the workers from a source."""

from hashlib import file_digest
from typing import IO, Annotated, Any, Literal
from uuid import UUID

from apiflask import APIBlueprint
from flask import request, url_for
from pydantic import BaseModel, Field
from structlog.contextvars import bind_contextvars

from api.access import check_import_from, into
from api.caller import caller
from api.errors import problems, validated
from api.fields import File, IntoCollection, Strict
from api.idempotency import conflicts, idempotency_key
from api.specification import either_body
from api.spool import PartOfFile
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.types import JobStatus, Queue
from umbel.imports import imports
from umbel.imports.sources.source import FolderSource, S3Source, SampleSource
from umbel.jobs.backpressure import gate
from umbel.jobs.idempotency import keyed_request
from umbel.jobs.wakeup import waker

bp = APIBlueprint("imports", __name__, tag="Imports")


class UploadSource(Strict):
    type: Literal["upload"] = Field(description="Pictures follow by POST /v1/images with this job's id.")


class ImportOptions(Strict):
    """How to import; shared by the JSON and the multipart form of a request."""

    collection: IntoCollection = None
    label_from_folder: bool = Field(False, description="Label each picture with the name of its folder.")
    dry_run: bool = Field(False, description="Only list: the job's `source` says what would be imported.")


class ImportIn(ImportOptions):
    source: Annotated[UploadSource | FolderSource | S3Source | SampleSource, Field(discriminator="type")]


class ImportFormIn(ImportOptions):
    file: File = Field(description="A zip, a tar (also .gz, .bz2, .xz), or a list: .csv, .tsv, .txt, .jsonl or .json.")
    base: str | None = Field(None, max_length=4096, description="What the paths of a list are relative to.")
    include_hidden: bool = Field(False, description="Of an archive, as of a folder's `source`.")


class ImportOut(BaseModel):
    job_id: UUID
    status: JobStatus


@bp.post("/v1/imports")
@bp.output(ImportOut, status_code=202, description="Opened")
@bp.doc(
    extensions=either_body(json=ImportIn, form=ImportFormIn),
    responses=problems(415, 507) | conflicts(),
)
def open_import() -> Any:
    """Import many pictures as one job.

    As JSON: from a folder on the server or a bucket, both below UMBEL_IMPORT_ROOTS and the import roots of the key; the
    `sample` garden, drawn by the workers; or of the type `upload`, whose pictures follow by
    POST /v1/images with this `job_id` until POST /v1/jobs/{id}/close (or ten idle minutes).
    As multipart: `file` is a zip, a tar, or a list (CSV, JSON Lines) of paths or URLs, which is
    checked before a job is opened. With `dry_run` it is only listed.
    With the header `Idempotency-Key`, a repeated request is answered as the first one was.
    """
    gate().enter()
    key = idempotency_key()
    if request.mimetype == "multipart/form-data":
        form = validated(ImportFormIn.model_validate, {**request.form.to_dict(), **request.files.to_dict()})
        options: dict[str, Any] = form.model_dump(exclude={"file"})
        options["collection"] = into(form.collection)
        check_import_from(form.base)
        file, options["name"] = form.file.stream, form.file.filename or ""
        keyed = keyed_request(key, file=_digest(file) if key else None, **options)
        options["roots"] = caller().import_roots
        options["spent"] = isinstance(file, PartOfFile) and file.spend(blobs().folder)
        return _opened(imports.import_upload(transaction, blobs(), settings(), file, request=keyed, **options))
    body = validated(ImportIn.model_validate, request.get_json())
    options = body.model_dump(exclude={"source"}) | {"collection": into(body.collection)}
    keyed = keyed_request(key, source=body.source.model_dump(), **options)
    if isinstance(body.source, UploadSource):
        with transaction() as session:
            return _opened(imports.open_import(session, options["collection"], request=keyed))
    if isinstance(body.source, FolderSource | S3Source):
        check_import_from(body.source.path if isinstance(body.source, FolderSource) else body.source.url)
    options["roots"] = caller().import_roots
    return _opened(imports.import_source(transaction, blobs(), settings(), body.source, request=keyed, **options))


def _digest(file: IO[bytes]) -> str:
    digest = file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest


def _opened(job_id: Any) -> Any:
    waker().wake(Queue.FETCH)
    bind_contextvars(job_id=str(job_id))
    return ImportOut(job_id=job_id, status=JobStatus.QUEUED), 202, {"Location": url_for("jobs.get_job", job_id=job_id)}

"""Asking for an import."""

from typing import Annotated, Literal
from uuid import UUID

from apiflask.fields import UploadFile
from pydantic import BaseModel, Field

from api.schemas.fields import CollectionName, Strict
from umbel.base.types import JobStatus
from umbel.gallery.upload import DEFAULT_COLLECTION
from umbel.imports.sources.source import FolderSource, S3Source, SampleSource


class UploadSource(Strict):
    type: Literal["upload"] = Field(description="Pictures follow by POST /v1/images with this job's id.")


class ImportOptions(Strict):
    """How to import; shared by the JSON and the multipart form of a request."""

    collection: CollectionName = DEFAULT_COLLECTION
    label_from_folder: bool = Field(False, description="Label each picture with the name of its folder.")
    dry_run: bool = Field(False, description="Only list: the job's `source` says what would be imported.")


class ImportIn(ImportOptions):
    source: Annotated[UploadSource | FolderSource | S3Source | SampleSource, Field(discriminator="type")]


class ImportFormIn(ImportOptions):
    file: UploadFile = Field(description="A zip, a tar (also .gz, .bz2, .xz), or a list: .csv or .jsonl.")
    base: str | None = Field(None, max_length=4096, description="What the paths of a list are relative to.")


class ImportOut(BaseModel):
    job_id: UUID
    status: JobStatus

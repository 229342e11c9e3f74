"""What a bulk import can be asked to read."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FolderSource(_Spec):
    """A folder on the server, below one of the import roots."""

    type: Literal["folder"] = "folder"
    path: str = Field(min_length=1, max_length=4096)


class ArchiveSource(_Spec):
    """An uploaded archive in the blob store, as `receive_archive` left it."""

    type: Literal["zip", "tar"]
    blob_key: str = Field(min_length=1)


class S3Source(_Spec):
    """Part of a bucket, below one of the import roots: s3://bucket/prefix."""

    type: Literal["s3"] = "s3"
    url: str = Field(min_length=1, max_length=4096)


class SampleSource(_Spec):
    """The sample garden: drawn flowers of invented species, always the same ones."""

    type: Literal["sample"]
    species: int = Field(12, ge=1, le=100, description="Kinds of flower, each a label.")
    per_species: int = Field(20, ge=1, le=1_000, description="Pictures of each kind.")


class ManifestSource(_Spec):
    """An uploaded list of paths and URLs. base: the folder or s3://bucket/prefix that its paths are relative to."""

    type: Literal["manifest"] = "manifest"
    blob_key: str = Field(min_length=1)
    format: Literal["csv", "jsonl"]
    base: str | None = Field(None, max_length=4096)


SourceSpec = Annotated[
    FolderSource | ArchiveSource | S3Source | ManifestSource | SampleSource, Field(discriminator="type")
]

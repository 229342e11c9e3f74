"""What an import can read from, and what every source can do: list from any position, and read in any order."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

from umbel.base.errors import ImageError
from umbel.base.in_place import Location


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Walked(_Spec):
    include_hidden: bool = Field(
        False, description="Also take what is hidden, or kept beside pictures by systems and programs."
    )


class _Placed(_Walked):
    in_place: bool = Field(
        False, description="Leave the pictures where they are instead of copying them into the blob store."
    )


class FolderSource(_Placed):
    """A folder on the server, below one of the import roots."""

    type: Literal["folder"] = "folder"
    path: str = Field(min_length=1, max_length=4096)


class ArchiveSource(_Walked):
    """An uploaded archive in the blob store, as `receive_archive` stored it."""

    type: Literal["zip", "tar"]
    blob_key: str = Field(min_length=1)


class S3Source(_Placed):
    """Part of a bucket, below one of the import roots: s3://bucket/prefix."""

    type: Literal["s3"] = "s3"
    url: str = Field(min_length=1, max_length=4096)


class SampleSource(_Spec):
    """The sample garden: drawn flowers of invented species, always the same ones."""

    type: Literal["sample"]
    species: int = Field(12, ge=1, le=100, description="Kinds of flower, each a label.")
    per_species: int = Field(20, ge=1, le=1_000, description="Pictures of each kind.")
    size: int = Field(320, ge=32, le=2048, description="Side of each picture in pixels.")


class ManifestSource(_Spec):
    """An uploaded list of paths and URLs in the blob store, as `receive_manifest` stored it.

    base: the folder or s3://bucket/prefix that its paths are relative to.
    """

    type: Literal["manifest"] = "manifest"
    blob_key: str = Field(min_length=1)
    base: str | None = Field(None, max_length=4096)


SourceSpec = Annotated[
    FolderSource | ArchiveSource | S3Source | ManifestSource | SampleSource, Field(discriminator="type")
]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that may be an image.

    position: opaque; `entries(after=position)` continues behind it, also in a later process.
    name: its path in the source, for people, as `printable` shows it.
    locator: all that `read` needs to find it in a source opened from the same spec; ASCII text.
    external_id: of its sender's own, where the source tells one.
    location: where its bytes are, in which version; None where that is not certain.
    rejected: why it cannot or must not be read, where listing already shows it.
    """

    position: str
    name: str
    locator: str
    label: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    rejected: ImageError | None = None
    external_id: str | None = None
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that does not look like an image: counted, not imported. hidden: it is not even meant to be one."""

    position: str
    name: str
    hidden: bool = False


class Original(NamedTuple):
    """The bytes of a file or object, and where they stay, in the version that was read."""

    data: bytes
    location: Location


class Source(Protocol):
    """An opened source. One thread lists it at a time; any number of threads read from it."""

    def entries(self, after: str | None = None) -> Iterator[Entry | Skipped]:
        """The files of the source in a fixed order, from its start or behind the position `after`.

        Raises SourceError when the listing cannot be completed, after all that could be listed; TransientError.
        """
        ...

    def read(self, locator: str) -> bytes:
        """The bytes of an entry, at most `max_bytes`. Thread-safe. Raises ImageError, TransientError."""
        ...

    def close(self) -> None: ...

"""What a file of vectors has of each image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from umbel.base.types import Vectors

BATCH = 1_000  # rows read at once: of 1,280 numbers each, 5 MB


class FileFormat(StrEnum):
    PARQUET = "parquet"
    NPZ = "npz"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What holds for all rows of an exported file."""

    model_version: UUID
    model: str
    dim: int
    metric: str = "cosine"

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"model_version": str(self.model_version), "model": self.model, "dim": self.dim, "metric": self.metric}


@dataclass(frozen=True, slots=True)
class GivenRows:
    """n rows of a file that is brought in. Images are named by id or, where the file has none, by the SHA-256 of their
    bytes; labels and metadata (JSON text) are None where the file has none. vectors: (n, dim), of any length."""

    image_ids: Sequence[str | None] | None
    sha256: Sequence[str | None] | None
    labels: Sequence[str | None] | None
    metadata: Sequence[str | None] | None
    vectors: Vectors


class VectorFile(Protocol):
    """A file of vectors that can be read. count: rows; dim: numbers of each vector."""

    @property
    def count(self) -> int: ...

    @property
    def dim(self) -> int: ...

    def batches(self) -> Iterator[GivenRows]:
        """All rows, some at a time. Raises BadVectors."""
        ...


@dataclass(frozen=True, slots=True)
class ExportedRows:
    """n images in the order of their ids. metadata: JSON text; sha256: hex; vectors: (n, dim)."""

    image_ids: Sequence[str]
    collections: Sequence[str]
    names: Sequence[str | None]
    external_ids: Sequence[str | None]
    labels: Sequence[str | None]
    metadata: Sequence[str]
    sha256: Sequence[str]
    vectors: Vectors

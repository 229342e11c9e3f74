"""What a file of vectors has of each image."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from umbel.base.types import Vectors


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
class ExportedRows:
    """n images in the order of their ids. metadata: JSON text; sha256: hex; vectors: (n, dim)."""

    image_ids: Sequence[str]
    collections: Sequence[str]
    names: Sequence[str | None]
    labels: Sequence[str | None]
    metadata: Sequence[str]
    sha256: Sequence[str]
    vectors: Vectors

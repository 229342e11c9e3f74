"""Embeddings: stored and fetched."""

from collections.abc import Sequence
from uuid import UUID

import numpy as np
from pgvector import HalfVector
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.types import Vector, Vectors
from db.models import Embedding


def upsert_embeddings(
    session: Session, version_id: UUID, images: Sequence[tuple[UUID, UUID]], vectors: Vectors
) -> None:
    """Store one vector for each (image id, collection id). One that is there already stays: same model, same bytes."""
    if not images:
        return
    rows = [
        {"model_version_id": version_id, "image_id": image, "collection_id": collection, "vector": HalfVector(vector)}
        for (image, collection), vector in zip(images, vectors, strict=True)
    ]
    session.execute(insert(Embedding).on_conflict_do_nothing(), rows)


def find_vector(session: Session, version_id: UUID, image_id: UUID) -> Vector | None:
    """The image's embedding under a version, (dim,) float32; None while it has none."""
    vector = session.scalar(
        select(Embedding.vector).where(Embedding.model_version_id == version_id, Embedding.image_id == image_id)
    )
    return None if vector is None else np.asarray(vector, dtype=np.float32)

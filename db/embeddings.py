"""Embeddings: stored and fetched."""

from collections.abc import Sequence
from uuid import UUID

import numpy as np
from pgvector import HalfVector
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.types import Vector, Vectors
from db.bulk import stage_rows
from db.models import Embedding

STAGED = {"image_id": "uuid", "collection_id": "uuid", "vector": "halfvec"}


def upsert_embeddings(
    session: Session, version_id: UUID, images: Sequence[tuple[UUID, UUID]], vectors: Vectors
) -> None:
    """Store one vector for each (image id, collection id). One that is there already stays: same model, same bytes."""
    if not images:
        return
    rows = ((*image, HalfVector(vector)) for image, vector in zip(images, vectors, strict=True))
    stage_rows(session, "staged_embedding", STAGED, rows)
    session.execute(
        text("""
            INSERT INTO embedding (model_version_id, image_id, collection_id, vector)
            SELECT :version, image_id, collection_id, vector FROM staged_embedding
            ON CONFLICT DO NOTHING
        """),
        {"version": version_id},
    )
    session.execute(text("TRUNCATE staged_embedding"))


def find_vector(session: Session, version_id: UUID, image_id: UUID) -> Vector | None:
    """The image's embedding under a version, (dim,) float32; None while it has none."""
    vector = session.scalar(
        select(Embedding.vector).where(Embedding.model_version_id == version_id, Embedding.image_id == image_id)
    )
    return None if vector is None else np.asarray(vector, dtype=np.float32)

"""Embeddings: stored and fetched."""

from collections.abc import Sequence
from uuid import UUID

import numpy as np
from pgvector import HalfVector
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import Uuid, text
from sqlalchemy.orm import Session

from umbel.base.copy import stage_rows
from umbel.base.types import Vector, Vectors
from umbel.gallery.blob_cleanups import same_bytes
from umbel.gallery.collections import NOT_DELETED, scope_sql

READ_AT_ONCE = 2_000  # vectors, as text from the database; as numbers they are a third of that
REPLACE = "(image_id, model_version_id) DO UPDATE SET vector = EXCLUDED.vector"
# Waits for a transaction that replaces the picture, and then sees its blob.
OF_BLOBS = f"""
    JOIN image i ON i.id = s.image_id AND {same_bytes("i.blob_key", "s.blob_key")} ORDER BY image_id FOR KEY SHARE OF i
"""
STAGED = {"image_id": "uuid", "collection_id": "uuid", "vector": "halfvec", "blob_key": "text"}


def upsert_embeddings(
    session: Session,
    version_id: UUID,
    images: Sequence[tuple[UUID, UUID]],
    vectors: Vectors,
    *,
    replace: bool = False,
    made_of: Sequence[str] | None = None,
) -> None:
    """Store one vector for each (image id, collection id).

    One that is there already stays, as the same model made it of the same bytes; replace: or gives way. made_of: the
    blobs that they were made of; an image that has another by now gets none.
    """
    if not images:
        return
    blobs: Sequence[str | None] = made_of or [None] * len(images)
    rows = ((*image, HalfVector(vector), key) for image, vector, key in zip(images, vectors, blobs, strict=True))
    stage_rows(session, "staged_embedding", STAGED, rows)
    session.execute(
        text(f"""
            INSERT INTO embedding (model_version_id, image_id, collection_id, vector)
            SELECT :version, image_id, s.collection_id, vector FROM staged_embedding s
            {"" if made_of is None else OF_BLOBS}
            ON CONFLICT {REPLACE if replace else "DO NOTHING"}
        """),
        {"version": version_id},
    )


def find_vectors(session: Session, version_id: UUID, images: Sequence[UUID]) -> dict[UUID, Vector]:
    """The embeddings of those images that have one under a version, each (dim,) float32; of no deleted collection."""
    # The version is a literal, so that only its own partition is looked at.
    statement = text(f"""
        SELECT image_id, vector FROM embedding WHERE model_version_id = '{version_id}' AND image_id = ANY (:images)
        AND collection_id {NOT_DELETED}
    """)
    rows = session.execute(statement.columns(image_id=Uuid, vector=HALFVEC), {"images": list(images)})
    return {row.image_id: np.asarray(row.vector, dtype=np.float32) for row in rows}


def list_vectors(
    session: Session, version_id: UUID, collection_id: UUID | None, *, dim: int, most: int
) -> tuple[list[UUID], Vectors]:
    """Image ids and their vectors, (n, dim) float32, of one collection or (None) all: at most `most`, drawn by chance.

    The same images are drawn each time.
    """
    statement = text(f"""
        SELECT image_id, vector FROM embedding
        WHERE model_version_id = '{version_id}' AND collection_id {scope_sql(collection_id)}
        ORDER BY hashtext(image_id::text), image_id LIMIT :most
    """).columns(image_id=Uuid, vector=HALFVEC)
    rows = session.execute(
        statement, {"collection": collection_id, "most": most}, execution_options={"yield_per": READ_AT_ONCE}
    )
    ids: list[UUID] = []
    parts = [np.empty((0, dim), np.float32)]
    for some in rows.partitions():
        ids += [row.image_id for row in some]
        parts.append(np.asarray([row.vector for row in some], np.float32))
    return ids, np.concatenate(parts)

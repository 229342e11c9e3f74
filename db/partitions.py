"""The partition of a model version, and its HNSW index."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

# pgvector's defaults; recall and build time are measured against them before anyone changes them.
HNSW = "m = 16, ef_construction = 64"


def partition_name(version_id: UUID) -> str:
    return f"embedding_{version_id.hex}"


def create_partition(session: Session, version_id: UUID, dim: int) -> None:
    """Make the partition of a version with its index. Harmless when it is there already.

    The column is halfvec without a width, so the index is on the cast; searches must write the same expression.
    Source: pgvector README, "Can I store vectors with different dimensions in the same column?".
    """
    name = partition_name(version_id)
    session.execute(text(f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF embedding FOR VALUES IN ('{version_id}')"))
    session.execute(text(f"ALTER TABLE {name} ADD CHECK (vector_dims(vector) = {int(dim)})"))
    session.execute(
        text(
            f"CREATE INDEX IF NOT EXISTS {name}_hnsw ON {name}"
            f" USING hnsw ((vector::halfvec({int(dim)})) halfvec_cosine_ops) WITH ({HNSW})"
        )
    )

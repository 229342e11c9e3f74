"""The partition of a model version, and its HNSW index: there, left out during a load, built again."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

# Embeddings trained to form clusters leave outliers that a search of the graph does not reach: with pgvector's defaults
# (16, 64) 1.6 % of 3,881 photographs did not find themselves at ef_search 100, with these 0.4 %; the index takes longer
# to build and is a fifth larger. docs/explanation/search.md has the figures.
HNSW = "m = 24, ef_construction = 128"
VALID = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far the building of an index is. done and total: in tuples or blocks, as the phase counts; 0 if unknown."""

    phase: str
    done: int
    total: int


def partition_name(version_id: UUID) -> str:
    return f"embedding_{version_id.hex}"


def create_partition(session: Session, version_id: UUID, dim: int) -> None:
    """Make the partition of a version with its index. Harmless when it is there already."""
    name = partition_name(version_id)
    session.execute(text(f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF embedding FOR VALUES IN ('{version_id}')"))
    session.execute(text(f"ALTER TABLE {name} ADD CHECK (vector_dims(vector) = {int(dim)})"))
    session.execute(text(f"CREATE INDEX IF NOT EXISTS {_index(version_id, dim)}"))


def has_index(session: Session, version_id: UUID) -> bool:
    """Whether the version's HNSW index is there and valid; one that is being built is not."""
    return bool(session.scalar(VALID, {"name": f"{partition_name(version_id)}_hnsw"}))


def has_at_most(session: Session, version_id: UUID, count: int) -> bool:
    """Whether the version has at most `count` embeddings, looking no further than that."""
    statement = text(f"SELECT count(*) <= :n FROM (SELECT FROM {partition_name(version_id)} LIMIT :n + 1) rows")
    return bool(session.scalar(statement, {"n": count}))


def drop_index(session: Session, version_id: UUID) -> None:
    """Take the HNSW index away; searches scan exactly from now on. Waits for running searches, two seconds at most.

    Raises TransientError when they take longer: try again later.
    """
    session.execute(text("SET LOCAL lock_timeout = '2s'"))
    session.execute(text(f"DROP INDEX IF EXISTS {partition_name(version_id)}_hnsw"))


def build_index(connection: Connection, version_id: UUID, dim: int, *, memory_mb: int, processes: int) -> bool:
    """Build the version's HNSW index beside running reads and writes; False where somebody else is at it.

    connection: in autocommit, for this alone. What a build that was killed left behind is removed first: an index that
    is there but invalid would be maintained and never used.
    Source: PostgreSQL documentation, "Building Indexes Concurrently"; pgvector README, "Index Build Time".
    """
    name = f"{partition_name(version_id)}_hnsw"
    # Tried, not waited for: CONCURRENTLY waits for all who hold a snapshot, and who waits for a lock holds one.
    if not connection.scalar(text("SELECT pg_try_advisory_lock(hashtext(:name))"), {"name": name}):
        return False
    try:
        valid = connection.scalar(VALID, {"name": name})
        if valid is False:
            connection.execute(text(f"DROP INDEX CONCURRENTLY {name}"))
        if not valid:
            connection.execute(text(f"SET maintenance_work_mem = '{int(memory_mb)}MB'"))
            connection.execute(text(f"SET max_parallel_maintenance_workers = {int(processes)}"))
            connection.execute(text(f"CREATE INDEX CONCURRENTLY {_index(version_id, dim)}"))
    finally:
        connection.invalidate()  # nobody gets it after us: with it go the lock and the settings
    return True


def find_index_progress(session: Session, version_id: UUID) -> IndexProgress | None:
    """How far the version's index is, None while none is being built."""
    row = session.execute(
        text("""
            SELECT phase, greatest(tuples_done, blocks_done), greatest(tuples_total, blocks_total)
            FROM pg_stat_progress_create_index WHERE relid = to_regclass(:name)
        """),
        {"name": partition_name(version_id)},
    ).first()
    return IndexProgress(*row) if row else None


def _index(version_id: UUID, dim: int) -> str:
    """Name, table and kind of the index, as CREATE INDEX wants them.

    The column is halfvec without a width, so the index is on the cast; searches must write the same expression.
    Source: pgvector README, "Can I store vectors with different dimensions in the same column?".
    """
    name = partition_name(version_id)
    return f"{name}_hnsw ON {name} USING hnsw ((vector::halfvec({int(dim)})) halfvec_cosine_ops) WITH ({HNSW})"

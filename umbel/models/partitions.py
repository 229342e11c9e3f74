"""The partitions of a model version, and its HNSW indexes: there, left out during a load, built again.

It has one of `embedding` and one of `tile`, whose index is always there: only collections that ask for it have tiles.
Beside the index of all its embeddings there may be some of one collection each: umbel/models/collection_indexes.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text, update
from sqlalchemy.orm import Session

from umbel.base.errors import TransientError
from umbel.base.tables import ModelVersion, Reindex
from umbel.base.types import IndexKind

# Whether an index is there and valid; no row where it is not there.
VALID = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
TABLES = ("tile", "embedding")
# Of a partition: whether its detaching has begun and is to be ended (NULL: it is detached), another whose has, and
# whether any session uses it.
DETACHING = text("""
    SELECT (SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass(:name)),
           (SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = to_regclass(:parent)
            AND inhdetachpending AND inhrelid <> to_regclass(:name)),
           EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
                   WHERE datname = current_database() AND relation = to_regclass(:name))
""")
# What stands still for a moment while a table or an index comes or goes waits no longer than this for it.
BRIEFLY = text("SET LOCAL lock_timeout = '500ms'")


@dataclass(frozen=True, slots=True)
class Hnsw:
    """How an HNSW index is built: neighbors of each vector in the graph, candidates looked at for them.

    Embeddings trained to form clusters leave outliers that a search of the graph does not reach: with pgvector's
    defaults (16, 64) 1.6 % of 3,881 photographs did not find themselves at ef_search 100, with these 0.4 %; the index
    takes longer to build and is a fifth larger. docs/explanation/search.md has the figures. kind: what it is of.
    """

    m: int = 24
    ef_construction: int = 128
    kind: IndexKind = IndexKind.HALFVEC

    @classmethod
    def of(cls, row: ModelVersion | Reindex | Row[Any]) -> "Hnsw":
        """How a version's index is built, or is to be built by a reindex of the index."""
        assert row.hnsw_m is not None
        assert row.hnsw_ef_construction is not None
        return cls(row.hnsw_m, row.hnsw_ef_construction, IndexKind(row.hnsw_kind or IndexKind.HALFVEC))

    @property
    def columns(self) -> dict[str, Any]:
        """The same, as columns of a version or a reindex."""
        return {"hnsw_m": self.m, "hnsw_ef_construction": self.ef_construction, "hnsw_kind": self.kind}


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far the building of an index is. done and total: in tuples or blocks, as the phase counts; 0 if unknown."""

    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class IndexState:
    """rows, dead: as Postgres last counted them; dead ones are of deleted pictures, until a vacuum. bytes: of the
    index, 0 without one. collections: so many have an index of their own, of so many bytes together."""

    rows: int
    dead: int
    bytes: int
    valid: bool
    collections: int
    collection_bytes: int
    hnsw: Hnsw


# What an index is on, by kind.
INDEXED = {
    IndexKind.HALFVEC: "(vector::halfvec({dim})) halfvec_cosine_ops",
    IndexKind.BITS: "(binary_quantize(vector)::bit({dim})) bit_hamming_ops",
}
# The indexes of single collections of a partition: their names begin so, and go on with the collection's id.
COLLECTION = "collection_"
OF_COLLECTIONS = text("""
    SELECT relname, indisvalid, pg_relation_size(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indrelid = to_regclass(:name) AND relname LIKE 'collection\\_%' ORDER BY relname
""")
# At the ends of the names of an index that is to take another's place, or has lost its own, and of one that changes it.
REBUILT, MOVING = "_rebuilt", "_moving"


def partition_name(version_id: UUID, table: str = "embedding") -> str:
    return f"{table}_{version_id.hex}"


def index_name(version_id: UUID, table: str = "embedding") -> str:
    """Of its HNSW index; who builds that holds the advisory lock of this name."""
    return f"{partition_name(version_id, table)}_hnsw"


def collection_index_name(version_id: UUID, collection_id: UUID) -> str:
    """Of the HNSW index of one collection's embeddings. `search_images` knows it, too; Postgres keeps 63 letters."""
    return f"{COLLECTION}{collection_id.hex}_{version_id.hex[-12:]}"


def create_partition(session: Session, version_id: UUID, dim: int, *, indexed: bool = True) -> None:
    """Make the partitions of a version, with its index or to be filled first. Harmless when they are there already.

    Made apart and then attached: so searches and this do not wait for each other; writers do, as long as it takes.
    Raises TransientError when they do not let it through: try again.
    Source: PostgreSQL documentation, "ALTER TABLE", ATTACH PARTITION.
    """
    for table in TABLES:
        name = partition_name(version_id, table)
        if has_partition(session, version_id, table):
            continue
        # Beside its parent, wherever this user's search path begins: in the schema `umbel` for a user of that name.
        beside = session.scalar(
            text(f"SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = '{table}'::regclass")
        )
        session.execute(BRIEFLY)
        session.execute(text(f"CREATE TABLE {beside}.{name} (LIKE {table} INCLUDING DEFAULTS)"))
        session.execute(text(f"ALTER TABLE {name} ADD CHECK (vector_dims(vector) = {int(dim)})"))
        session.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES IN ('{version_id}')"))
    tiles = _index(index_name(version_id, "tile"), version_id, dim, Hnsw(), table="tile")
    session.execute(text(f"CREATE INDEX IF NOT EXISTS {tiles}"))
    if indexed:
        statement = _index(index_name(version_id), version_id, dim, _hnsw_of(session, version_id))
        session.execute(text(f"CREATE INDEX IF NOT EXISTS {statement}"))


def has_partition(session: Session, version_id: UUID, table: str = "embedding") -> bool:
    """Whether the version has a partition."""
    name = partition_name(version_id, table)
    return bool(session.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": name}))


def list_partitions(session: Session) -> list[UUID]:
    """The versions that have a partition, attached or on its way out; those on their way out come first."""
    names = session.scalars(
        text("""
            SELECT relname FROM pg_class LEFT JOIN pg_inherits ON inhrelid = oid
            WHERE relkind = 'r' AND relname ~ '^embedding_[0-9a-f]{32}$'
            AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'embedding'::regclass)
            ORDER BY inhdetachpending DESC, relname
        """)
    )
    return [UUID(name.removeprefix("embedding_")) for name in names]


def detach_partition(session: Session, version_id: UUID) -> None:
    """Take a version's partitions out of their tables, beside running searches. Harmless when they are out.

    session: in autocommit. Killed midway, it goes on at the next call. Raises TransientError when something does not
    let it through. Postgres detaches one partition at a time, so one that is in use is not begun with: it would keep
    the others from being detached for as long.
    Source: PostgreSQL documentation, "ALTER TABLE", DETACH PARTITION CONCURRENTLY.
    """
    for table in TABLES:
        _detach(session, table, partition_name(version_id, table))


def _detach(session: Session, table: str, name: str) -> None:
    pending, other, in_use = session.execute(DETACHING, {"name": name, "parent": table}).one()
    if pending is None:  # it is detached already, or was never there
        return
    if in_use and not pending:
        raise TransientError("The vectors are being read, by a dump for example.")
    if other is not None:
        raise TransientError(f"The table {other} has to be detached first.")
    try:
        session.execute(text("SET lock_timeout = '5s'"))  # a dump or a long search may be in the way for hours
        session.execute(
            text(f"ALTER TABLE {table} DETACH PARTITION {name} {'FINALIZE' if pending else 'CONCURRENTLY'}")
        )
    finally:
        session.execute(text("RESET lock_timeout"))


def drop_partition(session: Session, version_id: UUID) -> None:
    """Remove detached partitions with all their vectors. Harmless when they are gone.

    Raises TransientError: try again.
    """
    session.execute(BRIEFLY)  # their foreign keys go too: `image` stands still for that
    names = ", ".join(partition_name(version_id, table) for table in TABLES)
    session.execute(text(f"DROP TABLE IF EXISTS {names}"))


def has_index(session: Session, version_id: UUID) -> bool:
    """Whether the version's HNSW index is there and valid; one that is being built is not."""
    return bool(session.scalar(VALID, {"name": index_name(version_id)}))


def has_at_most(session: Session, version_id: UUID, count: int) -> bool:
    """Whether the version has at most `count` embeddings, looking no further than that."""
    statement = text(f"SELECT count(*) <= :n FROM (SELECT FROM {partition_name(version_id)} LIMIT :n + 1) rows")
    return bool(session.scalar(statement, {"n": count}))


def list_collection_indexes(session: Session, version_id: UUID) -> dict[UUID, bool]:
    """The collections that have an index of their own in the version, and whether it is valid."""
    rows = session.execute(OF_COLLECTIONS, {"name": partition_name(version_id)})
    return {UUID(name.removeprefix(COLLECTION)[:32]): valid for name, valid, _ in rows}


def has_collection_index(session: Session, version_id: UUID, collection_id: UUID) -> bool:
    """Whether the collection has a valid HNSW index of its own in the version."""
    return bool(session.scalar(VALID, {"name": collection_index_name(version_id, collection_id)}))


def drop_index(session: Session, version_id: UUID) -> None:
    """Take the HNSW indexes away; searches scan exactly from now on. Waits for running ones, half a second at most.

    Raises TransientError when they take longer: try again later.
    """
    session.execute(BRIEFLY)
    session.execute(text(f"DROP INDEX IF EXISTS {index_name(version_id)}"))
    _drop_collection_indexes(session, version_id)


def _drop_collection_indexes(session: Session, version_id: UUID) -> None:
    for collection_id in list_collection_indexes(session, version_id):
        session.execute(text(f"DROP INDEX IF EXISTS {collection_index_name(version_id, collection_id)}"))


def drop_collection_index(session: Session, version_id: UUID, collection_id: UUID) -> bool:
    """Remove a collection's own index beside running searches; False where another session is at it. session: in
    autocommit, for this alone."""
    name = collection_index_name(version_id, collection_id)
    with _alone(session, name) as ours:
        if ours:
            session.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {name}"))
    return ours


def build_index(
    session: Session,
    version_id: UUID,
    dim: int,
    *,
    memory_mb: int,
    processes: int,
    collection_id: UUID | None = None,
) -> bool:
    """Build the version's HNSW index, or one of a collection alone, as the version has it, beside running reads and
    writes; False where another session builds it.

    session: in autocommit, for this alone. What a build that was killed left behind is removed first: an index that
    is there but invalid would be maintained and never used.
    Source: PostgreSQL documentation, "Building Indexes Concurrently"; pgvector README, "Index Build Time".
    """
    hnsw, name = _hnsw_of(session, version_id), index_name(version_id)
    if collection_id is not None:
        name = collection_index_name(version_id, collection_id)
    statement = _index(name, version_id, dim, hnsw, collection_id=collection_id)
    return _build(session, name, statement, memory_mb=memory_mb, processes=processes)


def rebuild_index(session: Session, version_id: UUID, dim: int, *, memory_mb: int, processes: int, hnsw: Hnsw) -> bool:
    """Build a second HNSW index beside the one in use, as `build_index` does. `swap_index` puts it in its place."""
    drop_rebuilt_index(session, version_id)  # one that was left behind may have been built in another way
    name = f"{index_name(version_id)}{REBUILT}"
    statement = _index(name, version_id, dim, hnsw)
    return _build(session, name, statement, memory_mb=memory_mb, processes=processes)


def swap_index(session: Session, version_id: UUID, hnsw: Hnsw) -> bool:
    """Put the rebuilt index in the place of the one in use, and that in its place; False, and nothing is done, where
    the rebuilt one is not valid.

    hnsw: of the rebuilt one. An index that is built as the former one was replaces it for good, since the planner may
    use either of two that are alike. Raises TransientError when searches do not let it through: try again.
    """
    name = index_name(version_id)
    if not session.scalar(VALID, {"name": name + REBUILT}):
        return False
    session.execute(BRIEFLY)
    if hnsw.kind == _hnsw_of(session, version_id).kind:
        session.execute(text(f"DROP INDEX IF EXISTS {name}"))
    session.execute(text(f"ALTER INDEX IF EXISTS {name} RENAME TO {name}{MOVING}"))
    session.execute(text(f"ALTER INDEX {name}{REBUILT} RENAME TO {name}"))
    session.execute(text(f"ALTER INDEX IF EXISTS {name}{MOVING} RENAME TO {name}{REBUILT}"))
    _drop_collection_indexes(session, version_id)  # they are built again as this one was
    _set_hnsw(session, version_id, hnsw)
    return True


def drop_rebuilt_index(session: Session, version_id: UUID) -> None:
    """Remove the index that `swap_index` has put aside, or that a rebuild left behind. session: in autocommit."""
    session.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {index_name(version_id)}{REBUILT}"))


def cancel_index_builds(session: Session, version_id: UUID) -> int:
    """Stop the sessions that build an index of the version now. Returns how many did."""
    return session.execute(
        text("""
            SELECT count(pg_cancel_backend(pid)) FROM pg_stat_progress_create_index
            WHERE relid = to_regclass(:name) AND datname = current_database()
        """),
        {"name": partition_name(version_id)},
    ).scalar_one()


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


def find_index_state(session: Session, version_id: UUID) -> IndexState | None:
    """The version's index and the rows it stands for; None without a partition."""
    row = session.execute(
        text("""
            SELECT t.n_live_tup, t.n_dead_tup, coalesce(pg_relation_size(i.indexrelid), 0) AS bytes,
                   coalesce(i.indisvalid, false) AS valid, v.hnsw_m, v.hnsw_ef_construction, v.hnsw_kind
            FROM pg_stat_user_tables t
            JOIN model_version v ON v.id = :version
            LEFT JOIN pg_index i ON i.indexrelid = to_regclass(:index)
            WHERE t.relid = to_regclass(:name)
        """),
        {
            "version": version_id,
            "name": partition_name(version_id),
            "index": index_name(version_id),
        },
    ).first()
    if row is None:
        return None
    own = session.execute(OF_COLLECTIONS, {"name": partition_name(version_id)})
    sizes = [size for _, valid, size in own if valid]
    return IndexState(row.n_live_tup, row.n_dead_tup, row.bytes, row.valid, len(sizes), sum(sizes), Hnsw.of(row))


def _build(session: Session, name: str, statement: str, *, memory_mb: int, processes: int) -> bool:
    """Build an index beside running reads and writes; False where another process is at it."""
    with _alone(session, name) as ours:
        if not ours:
            return False
        valid = session.scalar(VALID, {"name": name})
        if valid is False:
            session.execute(text(f"DROP INDEX CONCURRENTLY {name}"))
        if not valid:
            session.execute(text("SET statement_timeout = 0"))
            session.execute(text(f"SET maintenance_work_mem = '{int(memory_mb)}MB'"))
            session.execute(text(f"SET max_parallel_maintenance_workers = {int(processes)}"))
            session.execute(text(f"CREATE INDEX CONCURRENTLY {statement}"))
    return True


@contextmanager
def _alone(session: Session, name: str) -> Iterator[bool]:
    """Hold the advisory lock of an index, and close the session after; False, and no lock, where another has it.

    Tried, not waited for: CONCURRENTLY waits for all who hold a snapshot, and who waits for a lock holds one.
    """
    if not session.scalar(text("SELECT pg_try_advisory_lock(hashtext(:name))"), {"name": name}):
        yield False
        return
    try:
        yield True
    finally:
        session.invalidate()  # with it go the lock and what was set


def _hnsw_of(session: Session, version_id: UUID) -> Hnsw:
    """How the version's index is built."""
    statement = text("SELECT hnsw_m, hnsw_ef_construction, hnsw_kind FROM model_version WHERE id = :id")
    return Hnsw.of(session.execute(statement, {"id": version_id}).one())


def _set_hnsw(session: Session, version_id: UUID, hnsw: Hnsw) -> None:
    """Keep how the version's index is built from now on."""
    session.execute(update(ModelVersion).where(ModelVersion.id == version_id).values(hnsw.columns))


def _index(
    name: str,
    version_id: UUID,
    dim: int,
    hnsw: Hnsw,
    *,
    table: str = "embedding",
    collection_id: UUID | None = None,
) -> str:
    """Name, table and kind of the index, as CREATE INDEX wants them.

    The column is halfvec without a width, so the index is on the cast; searches must write the same expression.
    Source: pgvector README, "Can I store vectors with different dimensions in the same column?", "Binary Quantization".
    """
    indexed = INDEXED[hnsw.kind].format(dim=int(dim))
    how = f"m = {int(hnsw.m)}, ef_construction = {int(hnsw.ef_construction)}"
    which = "" if collection_id is None else f" WHERE collection_id = '{collection_id}'"
    return f"{name} ON {partition_name(version_id, table)} USING hnsw ({indexed}) WITH ({how}){which}"

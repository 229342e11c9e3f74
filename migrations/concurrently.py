"""Indexes on tables that may be large and in use."""

from alembic import op


def create_index(name: str, definition: str, *, unique: bool = False) -> None:
    """Build an index beside running writes; definition: all that follows its name, such as `ON image (id)`.

    It waits for transactions that are open, as long as it takes, and nothing waits for it. What came before in the
    migration is committed by it, so that all of it must bear being done twice. An index that a build which was stopped
    has left behind is invalid, and made again.
    Source: PostgreSQL documentation, "CREATE INDEX", Building Indexes Concurrently.
    """
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0; SET statement_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute(f"CREATE {'UNIQUE ' if unique else ''}INDEX CONCURRENTLY {name} {definition}")
        op.execute("SET lock_timeout = '4s'; SET statement_timeout = '60s'")

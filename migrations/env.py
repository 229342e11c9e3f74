"""Runs the migrations on the database of the settings, or on the URL that umbel.base.schema hands over."""

import time

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import PendingRollbackError

from umbel.access.reader import admit_reader
from umbel.base.schema import note_oldest_code
from umbel.base.settings import settings
from umbel.base.tables import Table

# Two processes that migrate at once: the second waits, then finds nothing to do.
MIGRATION_LOCK = 0x756D62656C  # "umbel"
PAUSE_SECONDS = 0.2
# A migration that cannot have its lock, or takes long, must not hold up a service that runs; it can be tried again.
# For the session: a migration that builds an index concurrently commits in its middle (migrations/concurrently.py).
TIMEOUTS = "SELECT set_config('lock_timeout', '4s', false), set_config('statement_timeout', '60s', false)"
# A user called `umbel` has the schema `umbel` first in the path, as Postgres' default begins with "$user": tables would
# go there, where people look who may not read them.
WITHOUT_OUR_SCHEMA = """
    SELECT set_config('search_path', string_agg(quote_ident(name), ', ' ORDER BY place), false)
    FROM unnest(current_schemas(false)) WITH ORDINALITY schema(name, place) WHERE name <> 'umbel'
"""


def run() -> None:
    url = context.config.attributes.get("url") or settings().direct_database
    engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 5})
    with engine.connect() as connection:
        _take_our_turn(connection)
        connection.execute(text(TIMEOUTS))
        connection.execute(text(WITHOUT_OUR_SCHEMA))
        connection.commit()
        context.configure(connection=connection, target_metadata=Table.metadata)
        try:
            with context.begin_transaction():
                context.run_migrations()
                admit_reader(connection)
                note_oldest_code(connection, context.get_context().get_current_revision())
        except PendingRollbackError as error:
            raise _first(error) from None


def _first(error: BaseException) -> BaseException:
    """What ended a migration: where that closes the connection, alembic fails once more, to begin a transaction."""
    while isinstance(error, PendingRollbackError) and error.__context__ is not None:
        error = error.__context__
    return error


def _take_our_turn(connection: Connection) -> None:
    """Wait for others that migrate. The lock ends with the connection."""
    # Tried, not waited for: an index is built concurrently when all are gone that hold a snapshot, and who waits for a
    # lock holds one.
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": MIGRATION_LOCK}):
        connection.rollback()
        time.sleep(PAUSE_SECONDS)


run()

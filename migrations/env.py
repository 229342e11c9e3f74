"""Runs the migrations on the database of the settings, or on the URL that umbel.base.schema hands over."""

from alembic import context
from sqlalchemy import create_engine, text

from umbel.access.reader import admit_reader
from umbel.base.settings import settings
from umbel.base.tables import Table

# Two processes that migrate at once: the second waits, then finds nothing to do.
MIGRATION_LOCK = 0x756D62656C  # "umbel"
# A migration that cannot have its lock, or takes long, must not hold up a service that runs; it can be tried again.
TIMEOUTS = "SELECT set_config('lock_timeout', '4s', true), set_config('statement_timeout', '60s', true)"
# A user called `umbel` has the schema `umbel` first in the path, as Postgres' default begins with "$user": tables would
# go there, where people look who may not read them.
WITHOUT_OUR_SCHEMA = """
    SELECT set_config('search_path', string_agg(quote_ident(name), ', ' ORDER BY place), true)
    FROM unnest(current_schemas(false)) WITH ORDINALITY schema(name, place) WHERE name <> 'umbel'
"""


def run() -> None:
    url = context.config.attributes.get("url") or settings().database
    with create_engine(url, connect_args={"connect_timeout": 5}).connect() as connection:
        context.configure(connection=connection, target_metadata=Table.metadata)
        with context.begin_transaction():
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            connection.execute(text(TIMEOUTS))  # not before: who migrates second waits for the first
            connection.execute(text(WITHOUT_OUR_SCHEMA))
            context.run_migrations()
            admit_reader(connection)


run()

"""Bringing the schema to a revision, and telling where it stands."""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from umbel.base.database import engine_of, translated_errors
from umbel.base.errors import Conflict, StackError

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def upgrade(url: str, revision: str = "head") -> None:
    """Apply the migrations up to `revision`. Nothing happens when the schema is there already.

    Raises Conflict, and nothing is changed, where the schema is none of this version's.
    """
    found = current(url)
    if found is not None and not knows(found):
        raise Conflict(
            f"This database was made by another version of Umbel (schema {found}), which this one cannot upgrade. "
            "Nothing was changed: go on with that version, or begin with another UMBEL_HOME or database."
        )
    with translated_errors():
        command.upgrade(_config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Take migrations back down to `revision`, or by `-1`; `base` removes everything.

    Raises Conflict, and nothing is changed, where views or functions of other users are built on what would go.
    """
    try:
        with translated_errors():
            command.downgrade(_config(url), revision)
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.DependentObjectsStillExist):
            first = (error.orig.diag.message_detail or str(error.orig)).splitlines()[0]
            raise Conflict(f"Something is built on what would go, and has to go first: {first}.") from error
        raise


def current(url: str) -> str | None:
    """Revision of the database, None when it is empty."""
    with translated_errors(), engine_of(url).connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def check(url: str) -> None:
    """Raises StackError unless this code can work with the schema: its own, or a newer one that says so.

    The second lets processes of the former version restart while the new one is being rolled out.
    """
    found = current(url)
    if found == head():
        return
    if found is None or knows(found):
        raise StackError(f"The schema is at {found or 'nothing'}, this version needs {head()}: run `umbel db upgrade`.")
    with translated_errors(), engine_of(url).connect() as connection:
        oldest = connection.scalar(text("SELECT obj_description('alembic_version'::regclass)"))
    if oldest is None or not knows(oldest):
        raise StackError(
            f"The schema is at {found}, which is newer than this version (schema {head()}) and does not work with it: "
            "go on with the version that upgraded it."
        )


def note_oldest_code(connection: Connection, revision: str | None) -> None:
    """Keep in the database which code can work with the schema at `revision`: that whose newest revision is at least
    the `oldest_code` of its migration, by default only code that has the migration."""
    if revision is None:
        return
    migration = ScriptDirectory(str(MIGRATIONS)).get_revision(revision)
    oldest = getattr(migration.module, "oldest_code", revision) if migration else revision
    connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{oldest}'"))


def head() -> str | None:
    """Newest revision of the code."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


def knows(revision: str) -> bool:
    """Whether `revision` is one of the code's."""
    return any(script.revision == revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions())


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["url"] = url
    return config

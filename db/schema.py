"""Bringing the schema to a revision, and telling where it stands."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from db.session import engine_of, translated_errors

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def upgrade(url: str, revision: str = "head") -> None:
    """Apply the migrations up to `revision`. Nothing happens when the schema is there already."""
    with translated_errors():
        command.upgrade(_config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Take migrations back down to `revision`, or by `-1`; `base` removes everything."""
    with translated_errors():
        command.downgrade(_config(url), revision)


def current(url: str) -> str | None:
    """Revision of the database, None when it is empty."""
    with translated_errors(), engine_of(url).connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """Newest revision of the code."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["url"] = url
    return config

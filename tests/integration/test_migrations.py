"""Migrations go up, down and up again, and leave what the code's tables expect."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect

from db import schema
from db.models import Table
from stack.postgres import Postgres


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE migrated OWNER umbel")
    with postgres.connect("migrated") as connection:
        connection.execute("CREATE EXTENSION vector")
    yield postgres.url("migrated")
    schema.engine_of(postgres.url("migrated")).dispose()
    with postgres.connect() as connection:
        connection.execute("DROP DATABASE migrated WITH (FORCE)")


def tables(url: str) -> set[str]:
    engine = create_engine(url)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_up_down_up(empty_database: str) -> None:
    schema.upgrade(empty_database)
    once = tables(empty_database)
    schema.downgrade(empty_database, "base")
    none = tables(empty_database)
    schema.upgrade(empty_database)
    assert (none, tables(empty_database)) == ({"alembic_version"}, once)


def test_upgrading_twice_changes_nothing(empty_database: str) -> None:
    schema.upgrade(empty_database)
    schema.upgrade(empty_database)
    assert schema.current(empty_database) == schema.head()


def test_the_tables_have_the_columns_that_the_code_names(postgres: Postgres) -> None:
    engine = schema.engine_of(postgres.url())
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Table.metadata)
    changed = [d for d in differences if isinstance(d, tuple) and d[0] in ("add_table", "add_column", "remove_column")]
    assert changed == []


def test_exactly_one_model_version_can_be_active(postgres: Postgres) -> None:
    with postgres.connect() as connection:
        index = connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE indexname = 'one_active_model_version'"
        ).fetchone()
    assert index is not None
    assert "UNIQUE" in str(index[0])

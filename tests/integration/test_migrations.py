"""Migrations go up, down and up again, and leave what the code's tables expect."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect

from stack.binaries import postgres_client, postgres_programs
from stack.postgres import Postgres
from tests.processes import eventually
from umbel.base import schema
from umbel.base.errors import Conflict, StackError
from umbel.base.tables import Table


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


def test_an_index_of_bits_goes_with_the_functions_that_use_it(empty_database: str, postgres: Postgres) -> None:
    schema.upgrade(empty_database)
    version = "embedding_" + 32 * "0"
    with postgres.connect("migrated") as connection:
        connection.execute(f"""
            INSERT INTO model_version (id, name, architecture, dim, weights_sha256, preprocessing_hash, card, state,
                hnsw_kind)
            VALUES ('{UUID(int=0)}', 'a', 'none', 2, '0', '0', '{{}}', 'active', 'bits');
            CREATE TABLE {version} PARTITION OF embedding FOR VALUES IN ('{UUID(int=0)}');
            CREATE INDEX {version}_hnsw ON {version} USING hnsw ((binary_quantize(vector)::bit(2)) bit_hamming_ops);
        """)
        search = "SELECT mode FROM search_images('[1,0]', only_ef => 40)"
        found = [connection.execute(search).fetchone()]
        schema.downgrade(empty_database, "0023")
        found.append(connection.execute(search).fetchone())
        schema.upgrade(empty_database)
        found.append(connection.execute("SELECT hnsw_kind FROM model_version").fetchone())
    assert found == [("hnsw",), ("exact",), ("halfvec",)]


def test_upgrading_twice_changes_nothing(empty_database: str) -> None:
    schema.upgrade(empty_database)
    schema.upgrade(empty_database)
    assert schema.current(empty_database) == schema.head()


def test_names_and_labels_from_before_are_normalized(empty_database: str, postgres: Postgres) -> None:
    schema.upgrade(empty_database, "baseline")
    with postgres.connect("migrated") as connection:
        connection.execute("INSERT INTO collection (name) VALUES ('garden')")
        connection.execute("""
            INSERT INTO image (collection_id, sha256, blob_key, media_type, size, width, height, name, label)
            SELECT id, decode(repeat(n::text, 64), 'hex'), n::text, 'image/jpeg', 1, 1, 1, word, word
            FROM collection, (VALUES (1, 'caf' || chr(233)), (2, 'cafe' || chr(769)), (3, NULL)) AS sent(n, word)
        """)
    schema.upgrade(empty_database)
    with postgres.connect("migrated") as connection:
        rows = connection.execute("SELECT name, label FROM image ORDER BY blob_key").fetchall()
    assert rows == [("caf\u00e9", "caf\u00e9"), ("caf\u00e9", "caf\u00e9"), (None, None)]


def test_keys_from_before_that_are_for_some_collections_import_from_no_root(
    empty_database: str, postgres: Postgres
) -> None:
    schema.upgrade(empty_database, "0002")
    with postgres.connect("migrated") as connection:
        connection.execute("""
            INSERT INTO api_key (name, prefix, sha256, scope, collections)
            SELECT name, name, sha256(name::bytea), 'write', collections
            FROM (VALUES ('all', NULL), ('one', '{garden}'::text[])) AS made(name, collections)
        """)
    schema.upgrade(empty_database)
    with postgres.connect("migrated") as connection:
        rows = connection.execute("SELECT name, import_roots FROM api_key ORDER BY name").fetchall()
    assert rows == [("all", None), ("one", [])]


def test_a_database_of_another_version_is_left_untouched(empty_database: str, postgres: Postgres) -> None:
    with postgres.connect("migrated") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
        connection.execute("ALTER TABLE alembic_version OWNER TO umbel")
    with pytest.raises(Conflict, match=r"another version of Umbel \(schema 9999\).* Nothing was changed"):
        schema.upgrade(empty_database)
    assert (tables(empty_database), schema.current(empty_database)) == ({"alembic_version"}, "9999")


def test_code_restarts_on_a_newer_schema_that_works_with_it(empty_database: str, postgres: Postgres) -> None:
    """As a process of the former version does in the middle of a rollout."""
    schema.upgrade(empty_database, "baseline")
    with pytest.raises(StackError, match=r"is at baseline, this version needs .*run `umbel db upgrade`"):
        schema.check(empty_database)
    schema.upgrade(empty_database)
    schema.check(empty_database)
    with postgres.connect("migrated") as connection:  # what a later version leaves
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("COMMENT ON TABLE alembic_version IS '9998'")
        with pytest.raises(StackError, match="newer than this version"):
            schema.check(empty_database)
        connection.execute(f"COMMENT ON TABLE alembic_version IS '{schema.head()}'")
    schema.check(empty_database)


def test_the_tables_have_the_columns_that_the_code_names(postgres: Postgres) -> None:
    engine = schema.engine_of(postgres.url())
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Table.metadata)
    changed = [d for d in differences if isinstance(d, tuple) and d[0] in ("add_table", "add_column", "remove_column")]
    assert changed == []


def test_tables_whose_rows_are_changed_many_times_are_vacuumed_early(postgres: Postgres) -> None:
    early = "array_to_string(reloptions, ' ') LIKE '%autovacuum_vacuum_scale_factor=0.01%'"
    with postgres.connect() as connection:
        tables = connection.execute(f"SELECT relname FROM pg_class WHERE {early}").fetchall()
    assert {"job", "job_item", "pending_blob_cleanup", "worker", "tally"} <= {name for (name,) in tables}


def test_exactly_one_model_version_can_be_active(postgres: Postgres) -> None:
    with postgres.connect() as connection:
        index = connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE indexname = 'one_active_model_version'"
        ).fetchone()
    assert index is not None
    assert "UNIQUE" in str(index[0])


# What builds an index, or removes what is left of one, and waits for writers.
WAITING = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ '^(CREATE|DROP) INDEX CONCURRENTLY'"
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('image_in_collection')"


def write(connection: "psycopg.Connection[Any]") -> None:
    """Add an image, which waits for no lock longer than a moment."""
    connection.execute("SET LOCAL lock_timeout = '500ms'")
    connection.execute("INSERT INTO collection (name) VALUES (gen_random_uuid())")
    connection.execute("""
        INSERT INTO image (collection_id, sha256, blob_key, media_type, size, width, height)
        SELECT id, sha256(name::bytea), 'key', 'image/jpeg', 1, 1, 1 FROM collection ORDER BY id DESC LIMIT 1
    """)


@pytest.mark.slow
def test_an_index_is_built_beside_writers_and_again_after_that_was_stopped(
    empty_database: str, postgres: Postgres
) -> None:
    schema.upgrade(empty_database, "0005")
    with postgres.connect("migrated") as slow, postgres.connect("migrated") as quick:

        def ask(query: str) -> object:
            row = quick.execute(query).fetchone()
            return row and row[0]

        def begin() -> "subprocess.Popen[str]":
            """An upgrade that waits for `slow`, which others that write do not."""
            begun = umbel_db(empty_database, "upgrade")
            eventually(lambda: ask(f"SELECT pid {WAITING}"))
            with quick.transaction():
                write(quick)
            return begun

        with slow.transaction():
            write(slow)
            for stop, told in (
                (lambda begun: begun.send_signal(signal.SIGINT), "umbel: Interrupted."),
                (lambda _: ask(f"SELECT pg_terminate_backend(pid) {WAITING}"), "umbel: The database cannot be reached"),
            ):
                stopped = begin()
                stop(stopped)
                said = stopped.communicate()[1]
                assert told in said.strip().splitlines()[0], said
                assert (stopped.returncode != 0, bool(ask(VALID))) == (True, False)
                assert schema.current(empty_database) == "0005"
            last = begin()
        assert (last.communicate()[1], last.returncode, ask(VALID)) == ("", 0, True)
        assert ask("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
        assert (schema.current(empty_database), ask("SELECT count(*) FROM image")) == (schema.head(), 4)


@pytest.mark.slow
def test_a_migration_gives_up_beside_a_writer_that_takes_long(empty_database: str, postgres: Postgres) -> None:
    schema.upgrade(empty_database, "0006")
    with postgres.connect("migrated") as slow, slow.transaction():
        write(slow)
        first = umbel_db(empty_database, "upgrade")
        said = first.communicate()[1]
        assert (first.returncode, "Traceback" in said, "lock timeout" in said) == (1, False, True)
        assert schema.current(empty_database) == "0006"
        write(slow)
    schema.upgrade(empty_database)
    with postgres.connect("migrated") as connection:
        assert connection.execute("SELECT sum(change) FROM tally WHERE counted = 'images'").fetchone() == (2,)


@pytest.fixture
def no_reader(postgres: Postgres) -> Iterator[None]:
    """A server on which nobody has made the role yet."""
    with postgres.connect() as connection:
        connection.execute("DROP OWNED BY umbel_reader; DROP ROLE umbel_reader")
    yield
    with postgres.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS umbel_reader")
    schema.upgrade(postgres.url())


def may_read(postgres: Postgres, database: str) -> bool:
    with postgres.connect(database) as connection:
        return connection.execute(
            "SELECT has_table_privilege('umbel_reader', 'umbel.images', 'SELECT')"
        ).fetchone() == (True,)


@pytest.fixture
def databases(postgres: Postgres) -> Iterator[list[str]]:
    """Some empty databases of one server."""
    names = [f"one_of_many_{number}" for number in range(3)]
    for name in names:
        with postgres.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} OWNER umbel")
        with postgres.connect(name) as connection:
            connection.execute("CREATE EXTENSION vector")
    yield names
    with postgres.connect() as connection:
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


# Which is ignored by what runs in the background.
HEEDING_SIGINT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from cli.main import main
main()
"""


def umbel_db(url: str, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-P", "-c", HEEDING_SIGINT, "db", *arguments]
    return subprocess.Popen(command, env={**os.environ, "UMBEL_DATABASE_URL": url}, text=True, stderr=subprocess.PIPE)


@pytest.mark.direct
def test_databases_of_one_server_can_be_migrated_at_once(
    no_reader: None, databases: list[str], postgres: Postgres
) -> None:
    running = [umbel_db(postgres.url(name), "upgrade") for name in databases]
    assert [process.communicate()[1] for process in running] == [""] * len(databases)
    assert [may_read(postgres, name) for name in databases] == [True] * len(databases)


def test_the_role_stays_where_another_database_goes_down(databases: list[str], postgres: Postgres) -> None:
    for name in databases[:2]:
        schema.upgrade(postgres.url(name))
    schema.downgrade(postgres.url(databases[0]), "base")
    with postgres.connect(databases[0]) as connection:
        assert connection.execute("SELECT to_regnamespace('umbel')").fetchone() == (None,)
        # What was taken from everybody is given back.
        right = "SELECT has_database_privilege('umbel_reader', current_database(), 'TEMPORARY')"
        assert connection.execute(right).fetchone() == (True,)
    assert may_read(postgres, databases[1])
    for name in databases[:2]:
        schema.engine_of(postgres.url(name)).dispose()


@pytest.mark.direct
def test_without_the_right_to_make_roles_it_is_said_how(
    no_reader: None, databases: list[str], postgres: Postgres
) -> None:
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE plain LOGIN")
        connection.execute(f"ALTER DATABASE {databases[0]} OWNER TO plain")
    url = postgres.url(databases[0], "plain")
    try:
        first = umbel_db(url, "upgrade")
        said = first.communicate()[1]
        assert first.returncode == 0
        (advice,) = re.findall(r'as an administrator run "(.*)", then `umbel db upgrade`', said)
        with postgres.connect() as connection:
            connection.execute(advice)
        assert umbel_db(url, "upgrade").communicate()[1] == ""
        assert may_read(postgres, databases[0])
    finally:
        with postgres.connect() as connection:
            connection.execute(f"DROP DATABASE {databases[0]} WITH (FORCE)")
            connection.execute("DROP ROLE plain")
            connection.execute(f"CREATE DATABASE {databases[0]}")


def test_a_view_of_somebody_elses_stops_a_downgrade(empty_database: str, postgres: Postgres) -> None:
    schema.upgrade(empty_database)
    with postgres.connect("migrated") as connection:
        connection.execute("CREATE VIEW public.roses AS SELECT * FROM umbel.images WHERE label = 'rose'")
        with pytest.raises(Conflict, match=r"view roses depends on view umbel.images"):
            schema.downgrade(empty_database, "base")
        assert connection.execute("SELECT count(*) FROM public.roses").fetchone() == (0,)


def test_a_dump_can_be_restored_by_the_owner(empty_database: str, databases: list[str], postgres: Postgres) -> None:
    schema.upgrade(empty_database)
    place = ["--host", str(postgres.socket_dir), "--username", "umbel"]
    command = [postgres_programs() / "pg_dump", *place, "--no-comments", "migrated"]
    dumped = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    command = [postgres_client("psql"), *place, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", databases[0]]
    subprocess.run(command, input=dumped, capture_output=True, text=True, check=True)
    assert may_read(postgres, databases[0])

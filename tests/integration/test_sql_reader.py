"""The role `umbel_reader` reads the schema `umbel` and is refused everything else, whatever comes to be later."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, QueryCanceled, ReadOnlySqlTransaction
from sqlalchemy import text

from stack.postgres import Postgres
from tests.integration.factory import Factory, unit
from umbel.base.database import transaction
from umbel.jobs import idempotency

Connection = psycopg.Connection[tuple[object, ...]]

VIEWS = {"umbel.images", "umbel.embeddings", "umbel.jobs"}
OURS = "NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"


@pytest.fixture
def reader(postgres: Postgres) -> Iterator[Connection]:
    """Logged in, and with the guard against accidents taken off: what refuses now are rights."""
    with postgres.connect(user="umbel_reader") as connection:
        connection.execute("SET default_transaction_read_only = off")
        yield connection


@pytest.fixture
def admin(postgres: Postgres) -> Iterator[Connection]:
    with postgres.connect() as connection:
        yield connection


@pytest.fixture
def alice(postgres: Postgres, admin: Connection, database: None) -> Iterator[Connection]:
    """A colleague as docs/sql.md lets one in: with a schema of her own, and temporary tables on top."""
    admin.execute("CREATE ROLE alice LOGIN IN ROLE umbel_reader")
    admin.execute("CREATE SCHEMA alice AUTHORIZATION alice")
    admin.execute("GRANT TEMPORARY ON DATABASE umbel TO alice")
    try:
        with postgres.connect(user="alice") as connection:
            yield connection
    finally:
        admin.execute("DROP OWNED BY alice CASCADE; DROP ROLE alice")


def names(connection: Connection, query: str) -> list[str]:
    return [str(name) for (name,) in connection.execute(query).fetchall()]


def relations(admin: Connection, where: str = "true") -> list[str]:
    """Every table, partition, view and sequence that is not Postgres' own, in words that name it anywhere."""
    return names(
        admin,
        f"""
        SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname {OURS} AND {where}
        """,
    )


@pytest.fixture
def partition(database: None) -> None:
    """A model version, so that there is a partition as well."""
    with transaction() as session:
        make = Factory(session)
        make.image(vector=unit(1), version=make.version())


def test_it_may_read_the_views_and_no_other_relation(admin: Connection, partition: None) -> None:
    every = relations(admin)
    assert len(every) > 15
    readable = [
        *relations(admin, "has_table_privilege('umbel_reader', c.oid, 'SELECT')"),
        *relations(admin, "has_any_column_privilege('umbel_reader', c.oid, 'SELECT')"),
    ]
    assert set(readable) == VIEWS


@pytest.mark.parametrize("right", ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"])
def test_it_may_change_no_relation(admin: Connection, partition: None, right: str) -> None:
    assert relations(admin, f"has_table_privilege('umbel_reader', c.oid, '{right}')") == []


def test_each_refusal_is_real(admin: Connection, reader: Connection, partition: None) -> None:
    for relation in set(relations(admin)) - VIEWS:
        for statement in (f"SELECT * FROM {relation}", f"SELECT FROM {relation}", f"COPY {relation} TO STDOUT"):
            with pytest.raises(InsufficientPrivilege):
                reader.execute(statement)


def test_it_may_call_the_two_functions_and_none_of_ours_besides(admin: Connection) -> None:
    """Trigger functions aside, which nobody can call; and pgvector's, which compute and read nothing."""
    may_call = names(
        admin,
        f"""
        SELECT p.oid::regproc::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname {OURS} AND p.prorettype <> 'trigger'::regtype
          AND has_function_privilege('umbel_reader', p.oid, 'EXECUTE')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
        """,
    )
    assert set(may_call) == {"umbel.nearest", "umbel.similar_images"}


def test_it_may_make_nothing_anywhere(admin: Connection) -> None:
    schemas = "SELECT nspname FROM pg_namespace WHERE has_schema_privilege('umbel_reader', oid, 'CREATE')"
    assert names(admin, schemas) == []
    for right in ("CREATE", "TEMPORARY"):
        allowed = f"SELECT 1 WHERE has_database_privilege('umbel_reader', current_database(), '{right}')"
        assert names(admin, allowed) == []


def test_it_is_an_ordinary_role_and_a_member_of_none(admin: Connection) -> None:
    (role,) = admin.execute(
        "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls, rolconnlimit,"
        " (SELECT count(*) FROM pg_auth_members WHERE member = r.oid) FROM pg_roles r WHERE rolname = 'umbel_reader'"
    ).fetchall()
    assert role == (False, 20, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE public.mine (n integer)",
        "CREATE TABLE umbel.mine (n integer)",
        "CREATE TEMP TABLE mine (n integer)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION umbel.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE VIEW umbel.images AS SELECT 1",
        "CREATE EXTENSION dblink",
        "CREATE ROLE mine",
        "INSERT INTO umbel.jobs (type) VALUES ('upload')",
        "UPDATE umbel.images SET label = 'mine'",
        "DELETE FROM umbel.embeddings",
        "SELECT * FROM umbel.images FOR UPDATE",
        "BEGIN; LOCK TABLE umbel.images IN ROW EXCLUSIVE MODE",
        "DROP VIEW umbel.images",
        "SET ROLE umbel",
        "SET SESSION AUTHORIZATION postgres",
        "ALTER ROLE umbel_reader CONNECTION LIMIT -1",
        "ALTER SYSTEM SET fsync = off",
        "GRANT umbel_reader TO umbel",
        "SELECT * FROM pg_authid",
        "SELECT job_count('{}', '{}', '{}', '{}')",
        "SELECT search_images('[1]', NULL, 1, condition => 'true')",
        "SELECT search_by_index('[1]', 1, '{}', true, 40, 26, 2000, 'SELECT 1')",
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_ls_dir('.')",
        "COPY (SELECT 1) TO '/tmp/mine'",
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
        "LOAD '/tmp/mine.so'",
    ],
)
def test_it_is_refused(reader: Connection, statement: str) -> None:
    with pytest.raises(psycopg.Error) as rejected:
        reader.execute(statement)
    not_allowed, not_to_be_had, not_updatable = "42501", "0A000", "55000"
    assert rejected.value.sqlstate in (not_allowed, not_to_be_had, not_updatable), rejected.value


def test_it_reads_by_default_only(postgres: Postgres) -> None:
    with postgres.connect(user="umbel_reader") as connection, pytest.raises(ReadOnlySqlTransaction):
        connection.execute("CREATE TABLE mine (n integer)")


def test_what_takes_too_long_is_ended(postgres: Postgres, admin: Connection) -> None:
    settings = ("statement_timeout", "idle_in_transaction_session_timeout", "search_path")
    with postgres.connect(user="umbel_reader") as connection:
        shown = [names(connection, f"SHOW {name}")[0] for name in settings]
    assert shown == ["30s", "1min", "umbel, public"]
    admin.execute("ALTER ROLE umbel_reader IN DATABASE umbel SET statement_timeout = '200ms'")  # so as not to wait
    try:
        with (
            postgres.connect(user="umbel_reader") as connection,
            pytest.raises(QueryCanceled, match="statement timeout"),
        ):
            connection.execute("SELECT count(*) FROM generate_series(1, 1000000000)")
    finally:
        admin.execute("ALTER ROLE umbel_reader IN DATABASE umbel RESET statement_timeout")


SECRET = "b4tch-of-secrets"


def test_no_view_tells_where_things_are_or_what_went_wrong(reader: Connection, database: None) -> None:
    with transaction() as session:
        make = Factory(session)
        job_id = make.job()
        make.item(job_id)
        keyed = idempotency.KeyedRequest(SECRET, b"")
        idempotency.insert_answers(session, {keyed: idempotency.FirstAnswer(job_id)})
        make.image(vector=unit(1), version=make.version(), label="rose", meta={"a": 1})
        session.execute(text(f"UPDATE image SET blob_key = '{SECRET}', name = '/home/{SECRET}.jpg'"))
        session.execute(text(f"UPDATE job SET error = 'cannot read /srv/{SECRET}'"))
        texts = "locator", "lease_owner", "name", "error_code", "error_detail"
        secrets = ", ".join(f"{column} = '{SECRET}'" for column in texts)
        session.execute(text(f"UPDATE job_item SET state = 'failed', {secrets}"))
        session.execute(text(f"UPDATE model_version SET name = '{SECRET}', weights_sha256 = '{SECRET}'"))
    for view in VIEWS:
        rows = names(reader, f"SELECT shown::text FROM {view} shown")
        assert rows
        assert SECRET not in "".join(rows)


def test_a_member_reads_what_the_role_reads(alice: Connection, partition: None) -> None:
    assert alice.execute("SELECT count(*) FROM umbel.images").fetchone() == (1,)
    assert alice.execute("SELECT count(*) FROM umbel.nearest('[1,1,1,1,1,1,1,1]')").fetchone() == (1,)
    with pytest.raises(InsufficientPrivilege):
        alice.execute("SELECT * FROM public.image")


def test_a_function_of_the_readers_own_is_shown_no_hidden_row(alice: Connection) -> None:
    """The planner calls the cheapest condition first, unless a view is a barrier."""
    with transaction() as session:
        make = Factory(session)
        old, new = make.version(active=False), make.version()
        make.image(vector=unit(1), version=old)
        make.image(vector=unit(2), version=new)
    told: list[str] = []
    alice.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    alice.execute("""
        CREATE FUNCTION alice.tell(vector halfvec) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
        $$ BEGIN RAISE NOTICE 'saw %', vector; RETURN true; END $$
    """)
    alice.execute("SET enable_partition_pruning = off")
    seen = alice.execute("SELECT vector::text FROM umbel.embeddings WHERE alice.tell(vector)").fetchall()
    assert told == [f"saw {vector}" for (vector,) in seen]
    assert len(seen) == 1


def test_nothing_can_stand_in_for_a_table(alice: Connection) -> None:
    """Inside a function that runs as the owner, a reader's temporary table of the same name would be read instead."""
    with transaction() as session:
        make = Factory(session)
        version = make.version()
        image, other = (make.image(vector=unit(seed), version=version, label="true") for seed in (1, 2))
    alice.execute("CREATE TEMP TABLE image (id uuid, collection_id uuid, label text, metadata jsonb)")
    alice.execute("CREATE TEMP TABLE model_version (id uuid, dim integer, state text)")
    alice.execute("CREATE FUNCTION pg_temp.check_nearest(halfvec, integer, integer) RETURNS void LANGUAGE sql AS ''")
    alice.execute("SET search_path = pg_temp, alice, umbel, public")
    found: list[tuple[object, ...]] = alice.execute(
        "SELECT image_id, label FROM similar_images(%s)", [image]
    ).fetchall()
    assert found == [(other, "true")]
    assert isinstance(found[0][0], UUID)
    assert alice.execute("SELECT count(*) FROM similar_images(%s)", [uuid4()]).fetchone() == (0,)

"""The role `umbel_reader`, which may read the schema `umbel` (docs/sql.md) and nothing else."""

from typing import Any

import psycopg
import structlog
from sqlalchemy import Connection, make_url, text

from umbel.base.errors import NotReady
from umbel.base.settings import Settings

log = structlog.get_logger()

READER = "umbel_reader"
VIEWS = ("images", "embeddings", "jobs")
FUNCTIONS = ("nearest", "similar_images")

# Postgres applies a role's settings at login, not to members of the role. They stop mistakes from hurting the service;
# they are no protection, since any session may change its own.
SETTINGS = {
    "statement_timeout": "'30s'",
    "idle_in_transaction_session_timeout": "'60s'",  # an open snapshot or lock blocks index builds
    "default_transaction_read_only": "on",
    "search_path": "umbel, public",
}
CREATE = f"CREATE ROLE {READER} LOGIN CONNECTION LIMIT 20; " + " ".join(
    f"ALTER ROLE {READER} SET {name} = {value};" for name, value in SETTINGS.items()
)

# A role belongs to the whole server. If another database creates it at the same time, this statement waits for that
# transaction and finds the role. A creator that is no superuser needs the right to become the role.
ENSURE_ROLE = f"""
DO $do$ BEGIN
    IF to_regrole('{READER}') IS NULL THEN
        {CREATE}
        IF NOT pg_has_role('{READER}', 'SET') THEN
            GRANT {READER} TO CURRENT_USER WITH SET TRUE, INHERIT FALSE;
        END IF;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
END $do$
"""

# Only what is named here. By default every role may create temporary tables, which take disk.
GRANT = f"""
GRANT USAGE ON SCHEMA umbel TO {READER};
DO $do$ DECLARE allowed text; BEGIN
    FOR allowed IN
        SELECT format('SELECT ON %s', oid::regclass) FROM pg_class
        WHERE relnamespace = 'umbel'::regnamespace AND relname = ANY ('{{{",".join(VIEWS)}}}')
        UNION ALL
        SELECT format('EXECUTE ON FUNCTION %s', oid::regprocedure) FROM pg_proc
        WHERE pronamespace = 'umbel'::regnamespace AND proname = ANY ('{{{",".join(FUNCTIONS)}}}')
    LOOP
        EXECUTE format('GRANT %s TO {READER}', allowed);
    END LOOP;
    IF (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()) THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    END IF;
END $do$;
"""

# By default every role may write large objects too; only a superuser can revoke that.
FORBID_LARGE_OBJECTS = """
DO $do$ DECLARE writing regprocedure; BEGIN
    FOR writing IN
        SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
        AND proname = ANY ('{lo_creat,lo_create,lo_from_bytea,lo_open,lo_put,lowrite}')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', writing);
    END LOOP;
END $do$
"""

NO_ROLE = (
    f"The role {READER} is not there and this database user may not create roles: as an administrator run"
    f' "{CREATE}", then `umbel db upgrade` once more'
)


def admit_reader(connection: Connection) -> None:
    """Make the role if it is not there, and let it read the schema `umbel`. Harmless to repeat, and without the schema.

    Where the role can neither be found nor made, a warning says what to do, and the service works without it.
    """
    if not connection.scalar(text("SELECT to_regnamespace('umbel') IS NOT NULL")):
        return
    connection.execute(text(ENSURE_ROLE))
    if not connection.scalar(text(f"SELECT to_regrole('{READER}') IS NOT NULL")):
        log.warning(NO_ROLE)
        return
    connection.execute(text(GRANT))
    if connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")):
        connection.execute(text(FORBID_LARGE_OBJECTS))


def connect(settings: Settings, *, as_reader: bool) -> "psycopg.Connection[tuple[Any, ...]]":
    """A connection as the reader, or as the owner of the settings. Raises NotReady, which says what to do about it."""
    try:
        connection = psycopg.connect(**connection_parameters(settings, as_reader=as_reader), connect_timeout=5)  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        raise NotReady(_remedied(str(error).strip().splitlines()[0].rstrip("."), settings)) from error
    schema = "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = 'umbel'"
    if as_reader and connection.execute(schema).fetchone() != (True,):
        raise NotReady(f"{READER} may read nothing here yet: run `umbel db upgrade`.")
    return connection


def connection_parameters(settings: Settings, *, as_reader: bool) -> dict[str, str]:
    """What libpq needs to connect. The embedded database lets the reader in by itself; elsewhere the settings' own user
    is let in and becomes the reader."""
    url = make_url(settings.direct_database)
    parameters = {name: str(value) for name, value in url.get_dialect()().create_connect_args(url)[1].items()}
    if as_reader and settings.database_url is None:
        parameters["user"] = READER
    elif as_reader:
        plain = {name: value.replace("'", "").replace(" ", "") for name, value in SETTINGS.items()}
        parameters["options"] = " ".join(f"-c {name}={value}" for name, value in {"role": READER, **plain}.items())
    return parameters


def _remedied(reason: str, settings: Settings) -> str:
    if f'role "{READER}" does not exist' in reason:
        return f"The role {READER} is not there yet: run `umbel db upgrade`."
    if "permission denied to set role" in reason:
        user = make_url(settings.direct_database).username
        return f"{user} may not become {READER}: as an administrator run `GRANT {READER} TO {user}`, or use --owner."
    start = "" if settings.database_url else " Is it running? `umbel up` starts it."
    return f"The database cannot be reached: {reason}.{start}"

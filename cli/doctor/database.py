"""Postgres: reachable, new enough, at this version's schema, with room and a clock that agrees."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from cli.doctor.finding import Finding, error, mib, ok, warning
from umbel.base import schema
from umbel.base.database import engine_of, translated_errors
from umbel.base.errors import NotReady, StackError
from umbel.base.settings import Settings

OLDEST_POSTGRES = 18
# Older ones overflow in parallel builds (0.8.2) or damage the index in a vacuum (0.8.3).
OLDEST_PGVECTOR = (0, 8, 4)
LITTLE_ROOM = 2 * 2**30  # bytes
CLOCKS_APART = 5.0  # seconds


def check_database(settings: Settings) -> Iterator[Finding]:
    """Postgres as migrations and commands reach it, and behind a pooler as all others do."""
    try:
        with translated_errors(), engine_of(settings.direct_database).connect() as connection:
            yield from _server(connection)
            yield _clock(connection)
            yield from _syncs(connection)
        yield _schema(settings)
        if settings.database_direct_url:
            with translated_errors(), engine_of(settings.database, pooled=True).connect():
                yield ok("pooler", "The pooler of UMBEL_DATABASE_URL answers.")
    except NotReady as refused:
        yield error("database", refused.detail, _remedy(settings, refused.detail))
    for number, url in enumerate(settings.database_read_url, 1):
        yield _replica(url, f"Replica {number} of UMBEL_DATABASE_READ_URL")
    if not settings.database_url:
        free = shutil.disk_usage(next(path for path in (settings.home, *settings.home.parents) if path.exists())).free
        found = f"The disk of the embedded Postgres in {settings.home} has {mib(free)} free."
        little = warning(
            "database disk", found, "Free some, or move UMBEL_HOME to a larger disk: full, nothing is stored."
        )
        yield little if free < LITTLE_ROOM else ok("database disk", found)


def _remedy(settings: Settings, reason: str) -> str:
    if not settings.database_url:
        return "Start the stack: `umbel up --detach`; its log is in UMBEL_HOME/logs."
    if "password" in reason or "authentication" in reason or "role" in reason:
        return "Set user and password right in UMBEL_DATABASE_URL."
    if "does not exist" in reason:
        return "Create the database, or name another one in UMBEL_DATABASE_URL."
    return "Start Postgres, or set host and port right in UMBEL_DATABASE_URL."


def _server(connection: Connection) -> Iterator[Finding]:
    version: str = connection.scalar(text("SHOW server_version")) or ""
    size = connection.scalar(text("SELECT pg_database_size(current_database())")) or 0
    found = f"Postgres {version.split(maxsplit=1)[0]} answers; the database takes {mib(size)}."
    if int(version.split(".", maxsplit=1)[0].split(maxsplit=1)[0]) < OLDEST_POSTGRES:
        yield warning("database", found, f"Umbel is tested with Postgres {OLDEST_POSTGRES}: upgrade, see docs.")
    else:
        yield ok("database", found)
    installed, available = connection.execute(
        text("SELECT max(installed_version), max(default_version) FROM pg_available_extensions WHERE name = 'vector'")
    ).one()
    yield _pgvector(installed, available)
    used, most = connection.execute(
        text("SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity")
    ).one()
    found = f"{used} of {most} connections are in use."
    many = warning("connections", found, "Raise max_connections, or put a pooler before it: docs/how-to/scale-out.md.")
    yield many if used > 0.9 * most else ok("connections", found)


def _replica(url: str, name: str) -> Finding:
    try:
        with translated_errors(), engine_of(url).connect() as connection:
            follows = connection.scalar(text("SELECT pg_is_in_recovery()"))
    except NotReady as refused:
        return warning("replicas", f"{name}: {refused.detail}", "See to it; meanwhile the primary answers all reads.")
    if follows:
        return ok("replicas", f"{name} answers.")
    return warning("replicas", f"{name} is no replica: it is never read from.", "Name one, or unset it.")


def _pgvector(installed: str | None, available: str | None) -> Finding:
    if available is None:
        return error("pgvector", "This Postgres has no pgvector.", "Install it, 0.8.4 or newer.")
    if installed is None:
        return warning(
            "pgvector", f"pgvector {available} is there, not yet in the database.", "Run `umbel db upgrade`."
        )
    found = f"pgvector {installed}."
    if tuple(map(int, installed.split("."))) >= OLDEST_PGVECTOR:
        return ok("pgvector", found)
    newer = f"Install 0.8.4 or newer{'' if available == installed else f' ({available} is there)'}, then"
    return error("pgvector", f"{found} It can damage indexes.", f"{newer} ALTER EXTENSION vector UPDATE.")


def _schema(settings: Settings) -> Finding:
    try:
        schema.check(settings.direct_database)
    except StackError as refused:
        return error("schema", refused.detail.partition(": ")[0] + ".", refused.detail.partition(": ")[2].capitalize())
    return ok("schema", f"The schema is at {schema.current(settings.direct_database)}.")


# What is wrong with the syncs that their last runs complain of.
FAILING = text("""
    SELECT coalesce(s.spec ->> 'path', s.spec ->> 'url') AS source, last.error FROM sync s CROSS JOIN LATERAL (
        SELECT job.error FROM sync_run r JOIN job ON job.id = r.job_id WHERE r.sync_id = s.id
        ORDER BY r.job_id DESC LIMIT 1
    ) last WHERE last.error IS NOT NULL AND NOT s.paused ORDER BY s.id
""")


def _syncs(connection: Connection) -> Iterator[Finding]:
    if connection.scalar(text("SELECT to_regclass('sync_run') IS NULL")):
        return  # an older schema, which has a finding of its own
    failing = connection.execute(FAILING).all()
    for source, reason in failing:
        yield warning("syncs", f"The sync of {source}: {reason}", "See `umbel sync list` and docs/how-to/sync.md.")
    if not failing:
        yield ok("syncs", "No sync complains of its last run.")


def _clock(connection: Connection) -> Finding:
    before = datetime.now(UTC)
    there: Any = connection.scalar(text("SELECT clock_timestamp()"))
    after = datetime.now(UTC)
    apart = abs((there - (before + (after - before) / 2)).total_seconds()) - (after - before).total_seconds() / 2
    if apart <= CLOCKS_APART:
        return ok("clock", "The clocks of this machine and the database agree.")
    return warning(
        "clock",
        f"The clocks of this machine and the database are {apart:,.0f} s apart: keys, sessions and signed URLs end late"
        " or early.",
        "Let both follow NTP.",
    )

"""`umbel keys`: keys of the API. Works on the database itself, so an operator needs no key."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from cli.config import settings
from cli.output import confirm, json_option, local_time, print_json, say, table, yes_option

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from umbel.base.tables import ApiKey

SPAN = re.compile(r"(\d{1,5})([mhdw])")
SCOPES = ("read", "upload", "write", "admin")
MINUTES = {"m": 1, "h": 60, "d": 24 * 60, "w": 7 * 24 * 60}


class Span(click.ParamType):
    """A length of time: 15m, 12h, 90d, 4w."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        if not (match := SPAN.fullmatch(value)):
            self.fail(f"{value!r} is no length of time such as 15m, 12h, 90d or 4w.", param, ctx)
        return timedelta(minutes=int(match[1]) * MINUTES[match[2]])


@click.group()
def keys() -> None:
    """Make, list and revoke the keys that the API asks for.

    \b
    umbel keys create --name camera --scope upload --collection garden --expires 90d
    umbel keys revoke 3f9a61c0d2b4

    These commands work on the database of the settings. Callers send a key as `Authorization: Bearer …`; this
    command line sends the one in UMBEL_KEY. How it all goes together: docs/how-to/keys.md.
    """


@keys.command()
@click.option("--name", required=True, help="Display name.")
@click.option("--scope", type=click.Choice(SCOPES), required=True, help="What it allows.")
@click.option(
    "--collection", "collections", multiple=True, help="Collection it is for; may be repeated. [default: all]"
)
@click.option(
    "--import-root",
    "import_roots",
    multiple=True,
    metavar="FOLDER|s3://…|all|none",
    help="What of the server it may import from, below UMBEL_IMPORT_ROOTS; may be repeated. [default: all; none with"
    " --collection]",
)
@click.option("--expires", type=Span(), metavar="12h|90d|4w", help="How long it is valid. [default: until revoked]")
@json_option
def create(
    *,
    name: str,
    scope: str,
    collections: tuple[str, ...],
    import_roots: tuple[str, ...],
    expires: timedelta | None,
    as_json: bool,
) -> None:
    """Make a key and show it once: only its SHA-256 is stored.

    read looks and searches; upload only adds pictures and follows them, for cameras; write does both, and changes and
    removes pictures; admin does everything.

    \b
    umbel keys create --name camera --scope upload --collection garden --expires 90d
    """
    from umbel.access.keys import KeyScope, create_key
    from umbel.base.storable import COLLECTION_NAME

    for collection in collections:
        if not re.fullmatch(COLLECTION_NAME, collection):
            raise click.BadParameter(f"{collection!r} is no collection's name.", param_hint="--collection")
    with _ledger() as session:
        text, row = create_key(
            session,
            name=name,
            scope=KeyScope(scope),
            collections=collections,
            import_roots=() if import_roots == ("none",) else import_roots or None,
            lasts=expires,
            actor=_actor(),
        )
    if as_json:
        print_json({"key": text, **_facts(row)})
        return
    say(text)
    say("Keep it now: it is not shown again.", err=True)
    if not settings().require_keys:
        say("The API asks for no keys as it is set here: start it with UMBEL_REQUIRE_KEYS=true.", err=True)


@keys.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the keys, newest first.

    \b
    umbel keys list
    """
    from umbel.access.keys import list_keys

    with _ledger() as session:
        found = list_keys(session)
    if as_json:
        print_json([_facts(row) for row in found])
        return
    lines = (
        (
            row.name,
            row.prefix,
            row.scope,
            ", ".join(row.collections) if row.collections else "all",
            "all" if row.import_roots is None else ", ".join(row.import_roots) or "none",
            _state(row),
            _time(row.last_used_at),
        )
        for row in found
    )
    table(None, ("name", "key", "scope", "collections", "imports from", "state", "last used"), lines)


@keys.command()
@click.argument("key")
@yes_option
@json_option
def revoke(key: str, yes: bool, as_json: bool) -> None:
    """Revoke KEY, given by its public part or whole. It cannot be restored.

    \b
    umbel keys revoke 3f9a61c0d2b4
    """
    from umbel.access.keys import prefix_of, revoke_key

    prefix = prefix_of(key) or key
    confirm(f"Revoke the key {prefix}? Whoever uses it is refused from then on.", yes=yes, as_json=as_json)
    with _ledger() as session:
        row = revoke_key(session, prefix, actor=_actor())
    print_json(_facts(row)) if as_json else say(f"Revoked {row.name} ({row.prefix}).")


@contextmanager
def _ledger() -> Iterator[Session]:
    """A transaction on the database of the settings. Raises StackError unless its schema is this version's."""
    from umbel.base import schema
    from umbel.base.database import transaction

    schema.check(settings().direct_database)
    with transaction() as session:
        yield session


def _actor() -> str:
    try:
        return f"command line ({getpass.getuser()})"
    except (KeyError, OSError):  # a user id without a name
        return "command line"


def _facts(row: ApiKey) -> dict[str, Any]:
    shown = ("name", "prefix", "scope", "collections", "import_roots")
    return {name: getattr(row, name) for name in (*shown, "created_at", "expires_at", "revoked_at", "last_used_at")}


def _state(row: ApiKey) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is not None:
        return "expired" if row.expires_at <= datetime.now(UTC) else f"until {_time(row.expires_at)}"
    return "valid"


def _time(at: datetime | None) -> str:
    return "never" if at is None else local_time(at)

"""`umbel db`: the schema."""

import click

from cli.output import confirm, json_option, print_json, say
from umbel.base import schema
from umbel.base.settings import settings


@click.group()
def db() -> None:
    """Bring the database's schema up, down, or check it."""


@db.command()
@json_option
def upgrade(as_json: bool) -> None:
    """Apply the migrations that are missing."""
    schema.upgrade(settings().direct_database)
    _report(as_json)


@db.command()
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def downgrade(revision: str, yes: bool, as_json: bool) -> None:
    """Take migrations back to REVISION (`base`: all of them, with all data)."""
    if not yes:
        confirm(f"Take the schema back to {revision}? What the migrations since then hold is lost.")
    schema.downgrade(settings().direct_database, revision)
    _report(as_json)


@db.command()
@json_option
def check(as_json: bool) -> None:
    """Exit 0 if this version can work with the schema: its own, or a newer one that says so. Else exit 1."""
    schema.check(settings().direct_database)
    _report(as_json)


def _report(as_json: bool) -> None:
    current = schema.current(settings().direct_database)
    if as_json:
        print_json({"revision": current, "head": schema.head()})
    else:
        say(f"The schema is at {current or 'nothing'}.")

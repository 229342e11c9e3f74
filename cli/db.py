"""`umbel db`: the schema."""

import click

from cli.output import confirm, json_option, print_json, say
from umbel.base import schema
from umbel.base.errors import StackError
from umbel.base.settings import settings


@click.group()
def db() -> None:
    """Bring the database's schema up, down, or check it."""


@db.command()
@json_option
def upgrade(as_json: bool) -> None:
    """Apply the migrations that are missing."""
    schema.upgrade(settings().database)
    _report(as_json)


@db.command()
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def downgrade(revision: str, yes: bool, as_json: bool) -> None:
    """Take migrations back to REVISION (`base`: all of them, with all data)."""
    if not yes:
        confirm(f"Take the schema back to {revision}? What the migrations since then hold is lost.")
    schema.downgrade(settings().database, revision)
    _report(as_json)


@db.command()
@json_option
def check(as_json: bool) -> None:
    """Exit 0 if the schema is the one this version needs, else 1."""
    check_schema()
    _report(as_json)


def check_schema() -> None:
    """Raises StackError unless the schema is the one this version needs."""
    current, head = schema.current(settings().database), schema.head()
    if current != head:
        raise StackError(f"The schema is at {current or 'nothing'}, this version needs {head}: run `umbel db upgrade`.")


def _report(as_json: bool) -> None:
    current = schema.current(settings().database)
    if as_json:
        print_json({"revision": current, "head": schema.head()})
    else:
        say(f"The schema is at {current or 'nothing'}.")

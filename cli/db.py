"""`umbel db`: the schema."""

import click

from cli.config import settings
from cli.output import confirm, json_option, print_json, say, yes_option


@click.group()
def db() -> None:
    """Bring the database's schema up, down, or check it."""


@db.command()
@json_option
def upgrade(as_json: bool) -> None:
    """Apply the migrations that are missing.

    \b
    umbel db upgrade
    """
    from umbel.base import schema

    schema.upgrade(settings().direct_database)
    _report(as_json)


@db.command()
@click.argument("revision")
@yes_option
@json_option
def downgrade(revision: str, yes: bool, as_json: bool) -> None:
    """Take migrations back to REVISION (`base`: all of them, with all data).

    \b
    umbel db downgrade -- -1      the newest migration
    """
    question = f"Take the schema back to {revision}? What the migrations since then hold is lost."
    confirm(question, yes=yes, as_json=as_json)
    from umbel.base import schema

    schema.downgrade(settings().direct_database, revision)
    _report(as_json)


@db.command()
@json_option
def check(as_json: bool) -> None:
    """Exit 0 if this version can work with the schema: its own, or a newer one that says so. Else exit 1.

    \b
    umbel db check
    """
    from umbel.base import schema

    schema.check(settings().direct_database)
    _report(as_json)


def _report(as_json: bool) -> None:
    from umbel.base import schema

    current = schema.current(settings().direct_database)
    if as_json:
        print_json({"revision": current, "head": schema.head()})
    else:
        say(f"The schema is at {current or 'nothing'}.")

"""`umbel sql`: psql on the gallery, as a user who can read and nothing else."""

import os
import sys
from datetime import datetime
from typing import Any

import click

from cli.config import settings
from cli.output import json_option, print_json, say
from umbel.base.errors import StackError


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "-c", "--command", "commands", multiple=True, metavar="SQL", help="Run this instead of asking; repeatable."
)
@click.option("--owner", is_flag=True, help="Connect as the owner, who can read and change everything.")
@click.argument("psql_arguments", nargs=-1, type=click.UNPROCESSED)
@json_option
def sql(commands: tuple[str, ...], owner: bool, psql_arguments: tuple[str, ...], as_json: bool) -> None:
    """Open psql on the database, as a user who can read the schema `umbel` and nothing else.

    \b
    umbel sql                                     \\dv lists the views, \\d images describes one
    umbel sql -c "SELECT label, count(*) FROM images GROUP BY 1"
    umbel sql -c "SELECT * FROM similar_images('0199…', 5)" --json
    umbel sql --csv -f report.sql > report.csv    other options are passed to psql

    Views and functions, with twelve worked queries: docs/sql.md. A query is ended after 30 seconds; for a longer one:
    SET statement_timeout = '10min'.
    """
    if as_json:
        if len(commands) != 1 or psql_arguments:
            raise click.UsageError("--json takes one --command, and nothing for psql.")
        _print_rows(commands[0], owner=owner)
        return
    from stack.binaries import postgres_client
    from umbel.access.reader import READER, connect, connection_parameters
    from umbel.operations.dump import variable_of

    program = postgres_client("psql")
    connect(settings(), as_reader=not owner).close()  # psql would report a failure in many words
    if sys.stdin.isatty() and not commands and not psql_arguments:
        say(f"You are {READER} and may read: images, embeddings, jobs (docs/sql.md)." if not owner
                   else "You are the owner: what you change or remove is changed and removed.", err=True)  # fmt: skip
    # Not on the command line, where any user of the machine could read a password.
    for name, value in connection_parameters(settings(), as_reader=not owner).items():
        os.putenv(variable_of(name), value)
    sys.stdout.flush()
    os.execv(program, [str(program), *(word for each in commands for word in ("-c", each)), *psql_arguments])


def _print_rows(command: str, *, owner: bool) -> None:
    import psycopg
    from psycopg.rows import dict_row

    from umbel.access.reader import connect

    with connect(settings(), as_reader=not owner) as connection:
        try:
            cursor = connection.cursor(row_factory=dict_row).execute(command.encode())
            rows = cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise StackError(str(error).splitlines()[0]) from error
    print_json([{name: _plain(value) for name, value in row.items()} for row in rows])


def _plain(value: Any) -> Any:
    """As Postgres itself writes it in JSON."""
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    return value.isoformat() if isinstance(value, datetime) else value

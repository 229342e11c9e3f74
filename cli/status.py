"""`umbel status`: what runs, and whether it can serve."""

import sys
from dataclasses import asdict

import click
from umbel_client import Ready, UmbelClientError

from cli.output import api_client, api_url, json_option, print_json, table
from stack import state
from umbel.base.settings import settings


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show what runs on this machine and whether it is ready. Exit 0 if it is."""
    stack = state.status(settings())
    ready = _ready()
    if as_json:
        print_json({"stack": asdict(stack), "api": ready.as_dict() if ready else None})
    else:
        if stack.running:
            rows = ((service.name, service.state, service.pid, service.restarts) for service in stack.services)
            table(f"Stack in {stack.home}", ("service", "state", "pid", "restarts"), rows, right="pid restarts")
        else:
            click.echo(f"No stack runs in {stack.home}: `umbel up --detach` starts one.")
        if ready:
            missing = [name for name, there in ready.checks.items() if not there]
            click.echo(f"{api_url()} is " + (f"not ready: no {', no '.join(missing)}." if missing else "ready."))
    sys.exit(0 if ready and ready.ready else 1)


def _ready() -> Ready | None:
    try:
        with api_client() as api:
            return api.ready()
    except UmbelClientError:
        return None

"""`umbel up` and `umbel down`: the whole stack on this machine."""

import json
import sys
from dataclasses import asdict
from datetime import datetime

import click
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from stack.control import start_detached, stop_running
from stack.state import AlreadyRunning, StackStatus, status
from stack.supervisor import Supervisor
from umbel.base.settings import Settings, settings

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


@click.command()
@click.option("--detach", is_flag=True, help="Return as soon as it is ready, and leave it running.")
@as_json
def up(detach: bool, as_json: bool) -> None:
    """Start Postgres, Redis, the worker, the scheduler and the API, and keep them running.

    In the foreground Ctrl-C stops everything; a second one does not wait. All state is in UMBEL_HOME.
    """
    if detach:
        up_detached(settings(), as_json=as_json)
        return
    try:
        run_foreground(settings(), as_json=as_json)
    except AlreadyRunning:
        _show(status(settings()), "Already running", as_json=as_json)


@click.command()
@as_json
def down(as_json: bool) -> None:
    """Stop what `umbel up` left running."""
    with _spinner("Stopping", as_json) as spinner:
        stopped = stop_running(settings(), on_wait=lambda now: spinner.update(_sentence("Stopping", _still_there(now))))
    if as_json:
        click.echo(json.dumps({"stopped": stopped}))
    else:
        click.echo("Stopped." if stopped else "Nothing was running.")


def up_detached(config: Settings, *, as_json: bool = False) -> StackStatus:
    """Make sure that a stack runs in the background, show what is being waited for, and say where it is."""
    was_running = status(config).running
    with _spinner("Starting", as_json) as spinner:
        now = start_detached(config, on_wait=lambda now: spinner.update(_sentence("Waiting for", _missing(now))))
    _show(now, "Already running" if was_running else "Umbel is ready", as_json=as_json)
    return now


def run_foreground(config: Settings, *, as_json: bool = False) -> None:
    """Run the stack until a signal; one line for everything that happens, with the time where no one is watching."""

    def say(text: str) -> None:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        if as_json:
            click.echo(json.dumps({"at": now, "event": text}))
        else:
            click.echo(text if sys.stdout.isatty() else f"{now} {text}")

    Supervisor(config, report=say).run()


def _show(now: StackStatus, greeting: str, *, as_json: bool) -> None:
    click.echo(json.dumps(asdict(now)) if as_json else f"{greeting}: {now.url}")


def _missing(now: StackStatus) -> list[str]:
    """What is being waited for: what has been started but does not work yet, else what comes next."""
    starting = [service.name for service in now.services if service.state in ("starting", "restarting")]
    return starting or [service.name for service in now.services if service.state == "waiting"]


def _still_there(now: StackStatus) -> list[str]:
    return [service.name for service in now.services if service.state != "stopped"]


def _sentence(verb: str, names: list[str]) -> str:
    return escape(f"{verb} {', '.join(names)}…" if names else f"{verb} the stack…")


def _spinner(verb: str, as_json: bool) -> Status:
    """A spinner on stderr, so that stdout holds the result alone; none for machines."""
    return Console(stderr=True, quiet=as_json).status(f"{verb} the stack…")

"""`umbel up`, `umbel down` and `umbel status`: the whole stack on this machine."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click

from cli.config import settings
from cli.output import api_client, api_url, json_option, local_time, print_json, print_json_line, say, table

if TYPE_CHECKING:
    from umbel_client import Ready
    from umbel_client.umbel import ActiveModel

    from ml.runtimes.choice import Measurement
    from ml.runtimes.measuring import Timing
    from stack.state import StackStatus
    from umbel.base.settings import Settings


@click.command()
@click.option("--detach", is_flag=True, help="Return as soon as it is ready, and leave it running.")
@json_option
def up(detach: bool, as_json: bool) -> None:
    """Start Postgres, Redis, the worker, the scheduler and the API, and keep them running.

    In the foreground Ctrl-C stops everything; a second one does not wait. All state is in UMBEL_HOME.

    \b
    umbel up --detach      and `umbel down` stops it
    """
    from stack import state

    if detach:
        now = up_detached(settings(), quiet=as_json)
        if as_json:
            print_json(asdict(now))
        return
    try:
        run_foreground(settings(), as_json=as_json)
    except state.AlreadyRunning:
        now = state.status(settings())
        print_json(asdict(now)) if as_json else say(f"Already running: {now.url}")


@click.command()
@json_option
def down(as_json: bool) -> None:
    """Stop what `umbel up` left running.

    \b
    umbel down
    """
    from cli.bars import Spinner
    from stack.control import stop_running

    with Spinner(_sentence("Stopping", []), quiet=as_json) as spinner:
        stopped = stop_running(settings(), on_wait=lambda now: spinner.update(_sentence("Stopping", _still_there(now))))
    print_json({"stopped": stopped}) if as_json else say("Stopped." if stopped else "Nothing was running.")


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show what runs on this machine, how fast, and whether it is ready. Exit 0 if it is.

    The last table is what the choice of a runtime rests on: each was timed when this machine first loaded the model.

    \b
    umbel status
    umbel status --json
    """
    from umbel_client import UmbelClientError

    from ml.runtimes.choice import list_measurements
    from stack import state

    stack = state.status(settings())
    measurements = list_measurements(settings().home)
    ready: Ready | None = None
    with suppress(UmbelClientError), api_client() as api:
        ready = api.ready()
    if as_json:
        runtimes = [one.model_dump(mode="json") for one in measurements]
        print_json({"stack": asdict(stack), "api": ready.as_dict() if ready else None, "runtimes": runtimes})
    else:
        if stack.running:
            rows = ((service.name, service.state, service.pid, service.restarts) for service in stack.services)
            table(f"Stack in {stack.home}", ("service", "state", "pid", "restarts"), rows, right="pid restarts")
        else:
            say(f"No stack runs in {stack.home}: `umbel up --detach` starts one.")
        if ready:
            missing = [name for name, there in ready.checks.items() if not there]
            say(f"{api_url()} is " + (f"not ready: no {', no '.join(missing)}." if missing else "ready."))
        if ready and ready.model:
            say_model(ready.model)
        for worker in ready.workers if ready else []:
            say(f"{worker['name']}: {worker['device']}")
        name = ready.model.name if ready and ready.model else None
        for latest in [one for one in measurements if one.model == (name or one.model)][:1]:
            show_measurement(latest)
    sys.exit(0 if ready and ready.ready else 1)


def say_model(model: ActiveModel) -> None:
    """Print the model that searches use, and what it is for."""
    say(f"Model: {model.name}" + (f", for {model.domain}" if model.domain else ""))


def show_measurement(measurement: Measurement) -> None:
    """Print how fast each setup runs a model here; the chosen one comes first."""
    rows = (
        ("" if number else "●", *one.setup.model_dump().values(), *_figures(one))
        for number, one in enumerate(measurement.timings)
    )
    busy = "" if measurement.calm else ", while it was busy"
    table(
        f"{measurement.model} on this machine, timed {local_time(measurement.measured_at)}{busy}",
        ("", "runtime", "precision", "parallel", "threads", "images/s", "parity"),
        rows,
        right="parallel threads images/s parity",
    )


def _figures(timing: Timing) -> tuple[str, str]:
    return "-" if timing.per_second is None else f"{timing.per_second:.0f}", f"{timing.parity:.5f}"


def up_detached(config: Settings, *, quiet: bool = False) -> StackStatus:
    """Start a stack in the background unless one runs; show what is being waited for, and the address."""
    from cli.bars import Spinner
    from stack import state
    from stack.control import start_detached
    from stack.supervisor import changes_ahead

    was_running = state.status(config).running
    for change in [] if was_running or quiet else changes_ahead(config):
        say(f"{change[0].upper()}{change[1:]}.")
    if not (was_running or quiet):
        _explain_first_start(config)
    with Spinner(_sentence("Starting", []), quiet=quiet) as spinner:
        now = start_detached(config, on_wait=lambda now: spinner.update(_sentence("Waiting for", _missing(now))))
    if not quiet:
        say(f"{'Already running' if was_running else 'Umbel is ready'}: {now.url}")
    return now


def run_foreground(config: Settings, *, as_json: bool = False) -> None:
    """Run the stack until a signal; print a line for each event, with its time where stdout is no terminal."""
    from stack.supervisor import Supervisor

    def report(text: str) -> None:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        if as_json:
            print_json_line({"at": now, "event": text})
        else:
            say(text if sys.stdout.isatty() else f"{now} {text}")

    if not as_json:
        _explain_first_start(config)
    Supervisor(config, report=report).run()


def _explain_first_start(config: Settings) -> None:
    """Say why the worker takes long to be ready where no runtime was timed yet."""
    from ml.runtimes.choice import list_measurements

    if config.measure_seconds and not list_measurements(config.home):
        say("The first start takes about a minute: the worker times how this machine runs the model fastest.")


def _missing(now: StackStatus) -> list[str]:
    """What is being waited for: what has been started but does not work yet, else what comes next."""
    starting = [service.name for service in now.services if service.state in ("starting", "restarting")]
    return starting or [service.name for service in now.services if service.state == "waiting"]


def _still_there(now: StackStatus) -> list[str]:
    return [service.name for service in now.services if service.state != "stopped"]


def _sentence(verb: str, names: list[str]) -> str:
    return f"{verb} {', '.join(names)}…" if names else f"{verb} the stack…"

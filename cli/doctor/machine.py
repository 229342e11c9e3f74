"""This machine: its stack, the API's port, how many files a process may open, its memory."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator

from umbel_client import UmbelClientError, UnexpectedAnswer, Unreachable

from cli.doctor.finding import Finding, error, mib, ok, warning
from cli.output import api_client, api_url
from stack import state
from stack.state import url
from umbel.base.machine import memory
from umbel.base.settings import Settings

FEW_FILES = 4096
LITTLE_MEMORY = 2 * 2**30  # bytes
HELP = {
    "database": "See what is said of the database here.",
    "redis": "See what is said of Redis here.",
    "model": "Start a worker: it registers the first model.",
    "worker": "Start one: `umbel up --detach`, or `umbel worker`; its log says why it ended.",
    "progress": "See the workers' log: they are alive, and finish nothing.",
}


def check_service(settings: Settings) -> Iterator[Finding]:
    """The stack on this machine, where there is one, and what the API says of its readiness."""
    here = api_url() == url(settings)
    stack = state.status(settings)
    if stack.running:
        for one in stack.services:
            if one.state not in ("ready", "starting"):
                yield error("stack", f"{one.name} is {one.state}.", f"See UMBEL_HOME/logs/{one.name}.log.")
            elif one.restarts > 3:
                yield warning("stack", f"{one.name} was restarted {one.restarts} times.", f"See logs/{one.name}.log.")
    try:
        with api_client() as api:
            ready = api.ready()
    except UnexpectedAnswer as other:
        if here:
            yield error("service", str(other), f"Stop what listens on port {settings.port}, or set another UMBEL_PORT.")
        else:
            yield error("service", str(other), "Set UMBEL_URL right.")
        return
    except Unreachable as gone:
        yield from (
            _nobody_listens(settings) if here else [error("service", str(gone), "Set UMBEL_URL right, or start it.")]
        )
        return
    except UmbelClientError as refused:
        yield error("service", str(refused), "Set UMBEL_URL and UMBEL_KEY right.")
        return
    for name, there in ready.checks.items():
        if not there:
            yield error("service", f"{api_url()} is not ready: {name}.", HELP.get(name, "See its log."))
    if ready.ready:
        workers = "one worker" if len(ready.workers) == 1 else f"{len(ready.workers)} workers"
        yield ok("service", f"{api_url()} is ready, with {workers}.")


def _nobody_listens(settings: Settings) -> Iterator[Finding]:
    """The API of this machine does not answer: it is down, or its port is another program's."""
    started = "Start the stack: `umbel up --detach`." if not settings.database_url else "Start it: `umbel api`."
    host = settings.host or "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, settings.port))
    except OSError as refused:
        yield error(
            "service",
            f"The API does not answer, and cannot listen on {host} port {settings.port}: {refused.strerror}.",
            f"Stop what listens there, or set another UMBEL_PORT. {started}",
        )
        return
    found = f"The API on port {settings.port} does not run."
    if settings.database_url:  # as in the container of a worker
        yield warning("service", found, "Start it, `umbel api`; or, where it is elsewhere, name it by UMBEL_URL.")
    else:
        yield error("service", found, started)


def check_machine(_: Settings) -> Iterator[Finding]:
    """Limits that the system sets."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"A process may open {files:,} files."
    few = warning(
        "open files", found, f"Raise it: `ulimit -n {min(most, 65536) if most > 0 else 65536}`, LimitNOFILE=."
    )
    yield few if 0 <= files < FEW_FILES else ok("open files", found)
    room = memory()
    found = f"{mib(room)} of memory."
    little = warning("memory", found, "Give it 2 GiB; with less, set UMBEL_DECODE_PROCESSES=1.")
    yield little if room < LITTLE_MEMORY else ok("memory", found)

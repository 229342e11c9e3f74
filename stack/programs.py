"""What runs in a stack on one machine, and how to see that it works."""

import errno
import http.client
import socket
import sys
from functools import partial
from urllib.parse import urlsplit

from stack.process import Program
from stack.state import url
from umbel.base.errors import StackError
from umbel.base.settings import Settings

# -P: a folder `cli` in the directory where somebody types `umbel up` is not ours.
UMBEL = (sys.executable, "-P", "-m", "cli.main")


def app_programs(settings: Settings) -> tuple[Program, ...]:
    """The processes of Umbel itself. /readyz wants a live worker, so it tells when the worker has loaded its model."""
    return (
        Program("worker", (*UMBEL, "worker"), ready=partial(answers, settings, "/readyz")),
        Program("scheduler", (*UMBEL, "scheduler"), ready=lambda: True, steady_seconds=3),
        Program("api", (*UMBEL, "api"), ready=partial(answers, settings, "/healthz")),
    )


def answers(settings: Settings, path: str) -> bool:
    """Whether the API answers 200 to this within a second. No proxy of the environment is asked."""
    where = urlsplit(url(settings))
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def check_port(settings: Settings) -> None:
    """Raise StackError if the API could not listen where the settings say."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the API does
            probe.bind((settings.host, settings.port))
    except OSError as error:
        place = f"port {settings.port} on {settings.host}"
        if error.errno == errno.EADDRINUSE:
            raise StackError(f"{place} is in use by another program: set UMBEL_PORT to a free one") from error
        raise StackError(f"cannot use {place} ({error.strerror}): set UMBEL_PORT or UMBEL_HOST") from error

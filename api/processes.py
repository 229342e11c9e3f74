"""The processes of the HTTP server: several serve on one socket, and a supervisor keeps them running."""

import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

import structlog

from api.open_files import raise_limit
from umbel.base.errors import StackError
from umbel.base.machine import memory
from umbel.base.malloc import return_blocks, share_arenas
from umbel.base.metrics import begin_counting, stop_counting
from umbel.base.settings import Settings

log = structlog.get_logger()

BIND_SECONDS = 5.0  # for the processes of a killed supervisor to release the port
PAUSE_SECONDS = 1.0  # before a dead process is replaced


def serve(settings: Settings) -> None:
    """Serve the API until SIGTERM or SIGINT. Raises StackError if the port is taken, or few files may be open."""
    raise_limit(settings.api_threads)
    listener = _listening(settings)
    supervisor = _Supervisor(listener, lambda: _serve_one(listener, settings))
    supervisor.run(settings.api_processes or (2 if memory() >= 2**30 else 1))


def _listening(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    until = time.monotonic() + BIND_SECONDS
    while True:
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                raise StackError(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}") from error
            time.sleep(0.1)
        else:
            listener.listen(1024)
            return listener


def _serve_one(listener: socket.socket, settings: Settings) -> None:
    """Serve until a signal, or until the supervisor has ended."""
    parent = os.getppid()
    from api.app import create_app  # noqa: PLC0415 - after the fork: threads and connections do not survive it
    from api.server import Server  # noqa: PLC0415

    share_arenas()
    return_blocks()
    begin_counting()
    server = Server(create_app(), listener, settings, orphaned=lambda: os.getppid() != parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    server.run()


class _Supervisor:
    """Forks processes that do `work`, replaces those that die, and ends all of them on a signal."""

    def __init__(self, listener: socket.socket, work: Callable[[], None]) -> None:
        self._listener, self._work = listener, work
        self._children: set[int] = set()
        self._stopping = False

    def run(self, count: int) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        for _ in range(count):
            self._fork()
        while self._children:
            pid, status = os.wait()
            self._children.discard(pid)
            stop_counting(pid)
            if not self._stopping:
                log.warning("a process of the API died", pid=pid, status=os.waitstatus_to_exitcode(status))
                time.sleep(PAUSE_SECONDS)
            if not self._stopping:
                self._fork()

    def _fork(self) -> None:
        pid = os.fork()
        if pid:
            self._children.add(pid)
            if self._stopping:  # a signal came between
                os.kill(pid, signal.SIGTERM)
            return
        code = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._work()
            code = 0
        except Exception:
            log.exception("a process of the API failed")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        self._listener.close()  # else the system would accept connections that no process answers
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)

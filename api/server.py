"""One process of the HTTP server: waitress, which reads a whole request before a thread works on it.

So a slow client occupies a socket and nothing else. A client that is too slow gets 408; one that announces too large a
body, or may not send it, is refused before it sends it, and can read the answer even in the middle of a request.
Health checks and decisions at the door have threads of their own, whatever the others wait for.
"""

import errno
import logging
import socket
import time
from collections.abc import Callable

import structlog
from flask import Flask
from waitress import wasyncore
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from api.channel import Channel, DoorTask
from api.door import Door
from api.incoming import Limits
from api.open_files import most_connections
from umbel.base.settings import Settings

log = structlog.get_logger()
logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # the time of requests shows that they wait for a thread

GRACE_SECONDS = 15  # for requests under way when the process stops
PAUSE_SECONDS = 1.0  # before connections are accepted again after the system had no room for one
IDLE_WHEN_FULL = 1.0  # seconds after which an idle connection gives way to one that waits
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

# Threads that a kind of request has for itself. /healthz waits for nothing; the others ask the database.
ALIVE, FIGURES, DOOR = "alive", "figures", "door"
THREADS = {ALIVE: 1, FIGURES: 2, DOOR: 2}
OWN_THREADS = {"/healthz": ALIVE, "/readyz": FIGURES, "/metrics": FIGURES}


class Server(TcpWSGIServer):
    """Serves an application on a socket that listens already."""

    accepting: bool
    channel_class = Channel
    stopping_since = 0.0

    def __init__(
        self, application: Flask, listener: socket.socket, settings: Settings, *, orphaned: Callable[[], bool]
    ) -> None:
        sockinfo = (listener.family, listener.type, listener.proto, listener.getsockname())
        self.door = Door(application)
        self._dispatchers = {kind: _dispatcher(count) for kind, count in THREADS.items()}
        self._accepts_at = 0.0
        adj = Limits(settings, self.door, most_connections(settings.api_threads))
        super().__init__(application, _sock=listener, adj=adj, sockinfo=sockinfo, bind_socket=False)
        self._orphaned = orphaned  # whether the parent process has ended

    def add_task(self, channel: Channel) -> None:
        """Have the first of a connection's requests answered, once its client has read the answers before."""
        if channel.total_outbufs_len:
            channel.next_waits = True
            self.pull_trigger()
            return
        request = channel.requests[0]
        kind = ALIVE if request.error else OWN_THREADS.get(request.path)
        (self._dispatchers[kind] if kind else self.task_dispatcher).add_task(channel)

    def ask_door(self, task: DoorTask) -> None:
        self._dispatchers[DOOR].add_task(task)

    def readable(self) -> bool:
        return bool(super().readable()) and time.time() >= self._accepts_at

    def accept(self) -> tuple[socket.socket, tuple[object, ...]] | None:
        """As in waitress; without room for one more none is accepted for a while, instead of trying all the time."""
        try:
            accepted: tuple[socket.socket, tuple[object, ...]] | None = super().accept()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._accepts_at = time.time() + PAUSE_SECONDS
            log.warning("no connection can be accepted", error=str(error), connections=len(self.active_channels))
            return None
        return accepted

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            channel.keep_time(now)
        if self.in_connection_overflow:
            self._make_room(now)

    def _make_room(self, now: float) -> None:
        """Close idle connections, the longest idle first, until half the places are free for those that wait."""
        idle = [one for one in self.active_channels.values() if not one.is_busy()]
        idle.sort(key=lambda one: one.last_activity)
        for channel in idle[: self.adj.connection_limit // 2]:
            channel.will_close = channel.will_close or channel.last_activity < now - IDLE_WHEN_FULL

    def stop(self) -> None:
        """Accept no more requests, and finish those under way. Safe in a signal handler."""
        self.stopping_since = self.stopping_since or time.time()
        self.pull_trigger()

    def run(self) -> None:
        """Serve until `stop` is called, then finish the requests under way."""
        while not self._done():
            wasyncore.loop(timeout=1, use_poll=True, map=self._map, count=1)
        for dispatcher in (self.task_dispatcher, *self._dispatchers.values()):
            dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._map, ignore_all=True)

    def _done(self) -> bool:
        if not self.stopping_since:
            if self._orphaned():
                self.stop()
            return False
        if self.accepting:
            self.accepting = False
            self.del_channel(self._map)
            self.socket.close()
        for channel in list(self.active_channels.values()):
            if channel.stream is not None:  # its client resumes where it was
                channel.stream.end()
        self.maintenance(time.time())
        over = time.time() > self.stopping_since + GRACE_SECONDS
        return over or not any(channel.is_busy() for channel in self.active_channels.values())


def _dispatcher(threads: int) -> ThreadedTaskDispatcher:
    made = ThreadedTaskDispatcher()
    made.set_thread_count(threads)
    return made

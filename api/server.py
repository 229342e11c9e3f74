"""One process of the HTTP server: waitress, which reads a whole request before a thread works on it.

So a slow client occupies a socket and nothing else. A client that is too slow gets 408, a client that announces too
large a body gets 413 before it sends it, and a client rejected in the middle of a request can still read the answer.
"""

import copy
import json
import logging
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import structlog
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask
from waitress.utilities import Error

from api.errors import NO_ROOM, problem_body
from api.spool import Spool, is_no_room
from api.upload_limits import largest_request
from umbel.base.settings import Settings

log = structlog.get_logger()
logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # the time of requests shows that they wait for a thread

LARGEST_HEADER = 2**15
IN_MEMORY = 2**20  # bytes of a request, or of an answer, beyond which they go to a temporary file
UNSENT = 2**26  # bytes of an answer that wait for a slow reader before its thread does
MOST_CONNECTIONS = 4_000
IDLE_SECONDS = 75  # longer than proxies keep an idle connection
STALLED_SECONDS = 30  # of an answer of which nothing is read
LINGER_SECONDS = 3  # for a rejected client to read the answer
GRACE_SECONDS = 15  # for requests under way when the process stops


class Limits(Adjustments):
    """How large a request to each path may be, and how slowly it may arrive."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            threads=settings.api_threads,
            ident=None,
            connection_limit=MOST_CONNECTIONS,
            backlog=1024,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=1,
            asyncore_use_poll=True,
            max_request_header_size=LARGEST_HEADER,
            max_request_body_size=largest_request(settings) + 1,
            inbuf_overflow=IN_MEMORY,
            outbuf_overflow=IN_MEMORY,
            outbuf_high_watermark=UNSENT,
            clear_untrusted_proxy_headers=False,  # Werkzeug's ProxyFix decides which to trust
        )
        self.slow_seconds, self.slow_bytes = settings.slow_seconds, settings.slow_bytes
        self._settings = settings

    def of_path(self, path: str) -> "Limits":
        largest = largest_request(self._settings, path) + 1
        if largest == self.max_request_body_size:
            return self
        limits = copy.copy(self)
        limits.max_request_body_size = largest
        return limits


class TooSlow(Error):
    code = 408


class Incoming(HTTPRequestParser):
    """A request on its way in."""

    adj: Limits
    path = "/"  # until the first line has arrived

    def __init__(self, adj: Limits) -> None:
        super().__init__(adj)
        self._began = time.time()

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # such as a Content-Length of 5,000 digits
            raise ParsingError("The header cannot be read.") from error
        self.adj = self.adj.of_path(self.path)
        if self.body_rcv is not None:
            self.body_rcv.buf = Spool(self.adj.inbuf_overflow)

    def fail(self, error: Error) -> None:
        """End the request, with an error for its answer and without what has arrived of it."""
        with suppress(OSError):  # closing writes what is left
            self.close()
        self.body_rcv, self.error, self.completed = None, error, True

    def is_late(self, now: float) -> bool:
        """Whether fewer than `slow_bytes` a second have arrived, after `slow_seconds`."""
        received: int = self.header_bytes_received + self.body_bytes_received
        return now > self._began + self.adj.slow_seconds + received / self.adj.slow_bytes


class NoRoom(Error):
    code = 507


class ProblemTask(ErrorTask):
    """The answer to a request that never reached the application, as a problem like any other."""

    def execute(self) -> None:
        error, request_id = self.request.error, uuid.uuid4().hex
        status = HTTPStatus(error.code)
        body = problem_body(status, str(error.body), instance=self.request.path, request_id=request_id)
        answer = json.dumps(body).encode()
        log.info("request", path=self.request.path, status=int(status), request_id=request_id)
        self.status = f"{int(status)} {status.phrase}"
        self.response_headers += [
            ("Content-Type", "application/problem+json"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Request-ID", request_id),
        ]
        self.channel.rest_unread = True
        self.set_close_on_finish()
        self.content_length = len(answer)
        self.write(answer)


class Channel(HTTPChannel):
    """A connection."""

    request: Incoming | None
    parser_class = Incoming
    error_task_class = ProblemTask
    rest_unread = False  # the client still sends, and the server no longer reads
    lingering_since = 0.0

    def readable(self) -> bool:
        return bool(self.lingering_since) or super().readable()

    def writable(self) -> bool:
        return self.will_close or (not self.lingering_since and bool(super().writable()))

    def handle_write(self) -> None:
        """As in waitress, but linger: closing while data arrives resets the connection, and the answer is lost."""
        if not (self.rest_unread and self.close_when_flushed) or self.will_close:
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if self.connected and not self.total_outbufs_len and not self.will_close:  # it may be closed by now
            self.lingering_since = time.time()
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def received(self, data: bytes) -> bool:
        try:
            return bool(super().received(data))
        except OSError as error:
            if self.request is None or not is_no_room(error):
                raise
            with self.requests_lock:
                self._fail(self.request, NoRoom(NO_ROOM))
        return True

    def keep_time(self, now: float) -> None:
        """End a request or answer that takes too long."""
        if self.lingering_since:
            self.will_close = now > self.lingering_since + LINGER_SECONDS
        elif self.total_outbufs_len and now > self.last_activity + STALLED_SECONDS:
            self.will_close = True
        with self.requests_lock:
            late = self.request
            if late is None or self.requests or self.close_when_flushed or not late.is_late(now):
                return
            self._fail(late, TooSlow("The request took too long to arrive."))

    def _fail(self, request: Incoming, error: Error) -> None:
        """Answer the request that is arriving with an error, after those before it."""
        request.fail(error)
        self.requests.append(request)
        self.request = None
        if len(self.requests) == 1:
            self.server.add_task(self)

    def is_busy(self) -> bool:
        return bool(self.requests or self.request or self.total_outbufs_len)


class Server(TcpWSGIServer):
    """Serves an application on a socket that listens already."""

    accepting: bool
    channel_class = Channel
    stopping_since = 0.0

    def __init__(
        self, application: Any, listener: socket.socket, settings: Settings, *, orphaned: Callable[[], bool]
    ) -> None:
        sockinfo = (listener.family, listener.type, listener.proto, listener.getsockname())
        adj = Limits(settings)
        super().__init__(application, _sock=listener, adj=adj, sockinfo=sockinfo, bind_socket=False)
        self._orphaned = orphaned  # whether the parent process has ended

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            channel.keep_time(now)

    def stop(self) -> None:
        """Accept no more requests, and finish those under way. Safe in a signal handler."""
        self.stopping_since = self.stopping_since or time.time()
        self.pull_trigger()

    def run(self) -> None:
        """Serve until `stop` is called, then finish the requests under way."""
        while not self._done():
            wasyncore.loop(timeout=1, use_poll=True, map=self._map, count=1)
        self.task_dispatcher.shutdown(timeout=1)
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
        self.maintenance(time.time())
        over = time.time() > self.stopping_since + GRACE_SECONDS
        return over or not any(channel.is_busy() for channel in self.active_channels.values())

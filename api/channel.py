"""A connection: its requests one after the other, their answers, and the end of what takes too long."""

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from typing import Any

import structlog
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error

from api.door import REFUSAL
from api.errors import NO_ROOM, problem_body
from api.incoming import Incoming, NoRoom, TooSlow
from api.rates import COUNTED
from api.spool import is_no_room

log = structlog.get_logger()

GOES_ON = "umbel.goes_on"  # in the environment: call it with a function, which is handed the answer as a Stream
LARGE_BUFFER = 2**16  # bytes that one of a stream's buffers holds
STALLED_SECONDS = 30  # of an answer of which nothing is read
LINGER_SECONDS = 3  # for a rejected client to read the answer


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


class Stream:
    """An answer that goes on after the application's thread is done with its request. Any thread may use it."""

    def __init__(self, task: "AnswerTask", channel: "Channel") -> None:
        self._task, self._channel = task, channel
        self._lock = threading.Lock()
        self._ended = False

    @property
    def unsent(self) -> int:
        """Bytes that the client has not read yet."""
        return int(self._channel.total_outbufs_len)

    def write(self, data: bytes) -> bool:
        """Send the next part. False if the client is gone, or the stream has ended."""
        with self._lock:
            if self._ended:
                return False
            try:
                self._task.write(data)
            except (ClientDisconnected, OSError):
                return False
            self._channel.renew_buffer()
        return True

    def end(self) -> None:
        """Let the client read what was written, and close the connection. Twice is harmless."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            with suppress(ClientDisconnected, OSError):
                WSGITask.finish(self._task)
        self._channel.leave_stream()


class StreamBegins(BaseException):
    """Leads out of waitress' handling of a request, which would end it: no Exception, which it would answer."""


class AnswerTask(WSGITask):
    """The application's answer to a request that has arrived, or that the door has refused."""

    begin: Callable[[Stream], object] | None = None  # what goes on with the answer, if anything does

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ[COUNTED], environ[REFUSAL] = self.request.passed_door, self.request.refusal
        environ[GOES_ON] = self._go_on
        return environ

    def _go_on(self, begin: Callable[[Stream], object]) -> None:
        self.begin = begin

    def finish(self) -> None:
        if self.begin is None:
            super().finish()
            return
        self.channel.stream = stream = Stream(self, self.channel)
        self.begin(stream)
        raise StreamBegins

    def execute(self) -> None:
        if self.request.refusal is not None:
            self.channel.rest_unread = True
            self.set_close_on_finish()
        super().execute()


class DoorTask:
    """Asks the door about a request whose body waits."""

    def __init__(self, channel: "Channel", request: Incoming) -> None:
        self._channel, self._request, self._since = channel, request, time.time()

    def service(self) -> None:
        environ = WSGITask(self._channel, self._request).get_environment()
        refusal = self._channel.server.door.refusal({**environ, "wsgi.input": BytesIO()})
        self._channel.leave_door(self._request, refusal, time.time() - self._since)

    def cancel(self) -> None:
        """Nothing: the server ends."""


class Channel(HTTPChannel):
    """A connection."""

    request: Incoming | None
    requests: list[Incoming]
    close_when_flushed: bool
    current_outbuf_count: int
    parser_class = Incoming
    task_class = AnswerTask
    error_task_class = ProblemTask
    rest_unread = False  # the client still sends, and the server no longer reads
    lingering_since = 0.0
    next_waits = False  # a request that has arrived begins once the client has read the answers before it
    stream: Stream | None = None  # an answer that goes on without a thread

    def service(self) -> None:
        with suppress(StreamBegins):
            super().service()

    def readable(self) -> bool:
        if self.stream is not None:  # or it would not be seen that the client has gone
            return not (self.will_close or self.close_when_flushed)
        return bool(self.lingering_since) or (super().readable() and not self._at_door())

    def writable(self) -> bool:
        return self.will_close or (not self.lingering_since and (self.next_waits or bool(super().writable())))

    def handle_write(self) -> None:
        """As in waitress, but linger: closing while data arrives resets the connection, and the answer is lost."""
        if not (self.rest_unread and self.close_when_flushed) or self.will_close:
            super().handle_write()
            if self.next_waits and self.connected and not self.total_outbufs_len:
                self.next_waits = False
                self.server.add_task(self)
            return
        self._flush_exception(self._flush_some)
        if self.connected and not self.total_outbufs_len and not self.will_close:  # it may be closed by now
            self.lingering_since = time.time()
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def received(self, data: bytes) -> bool:
        if self.stream is not None:  # nothing can follow it
            return True
        try:
            taken = bool(super().received(data))
        except OSError as error:
            if self.request is None or not is_no_room(error):
                raise
            with self.requests_lock:
                self._fail(self.request, NoRoom(NO_ROOM))
            return True
        if self._at_door():
            self.server.ask_door(DoorTask(self, self.request))  # type: ignore[arg-type]
        return taken

    def _at_door(self) -> bool:
        request = self.request
        return request is not None and request.at_door

    def leave_door(self, request: Incoming, refusal: Exception | None, waited: float) -> None:
        """Read the body, or answer the refusal. waited: seconds."""
        with self.requests_lock:
            if self.connected and request is self.request and request.at_door:
                request.pass_door(refusal, waited)
                if refusal is not None or request.error is not None:
                    self._queue(request)
                elif request.expect_continue and not self.requests:
                    self.send_continue()  # else waitress does, after the answers before it
        self.server.pull_trigger()

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
        self._queue(request)

    def _queue(self, request: Incoming) -> None:
        self.requests.append(request)
        self.request = None
        if len(self.requests) == 1:
            self.server.add_task(self)

    def renew_buffer(self) -> None:
        """Begin another buffer once the present one is read: waitress' keep what they have had, for as long as they
        are used."""
        with self.outbuf_lock:
            if not self.total_outbufs_len and self.current_outbuf_count > LARGE_BUFFER:
                self.current_outbuf_count = self.adj.outbuf_high_watermark

    def leave_stream(self) -> None:
        """Close the connection once all of the stream is read."""
        with self.requests_lock:
            for request in self.requests:
                request.close()
            self.requests = []
            self.close_when_flushed = True
        self.server.pull_trigger()

    def is_busy(self) -> bool:
        return bool(self.requests or self.request or self.total_outbufs_len)

"""A connection: its requests one after the other, their answers, and the end of what takes too long."""

import json
import socket
import time
import uuid
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from typing import Any

import structlog
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error

from api.door import REFUSAL
from api.errors import NO_ROOM, problem_body
from api.incoming import Incoming, NoRoom, TooSlow
from api.rates import COUNTED
from api.spool import is_no_room

log = structlog.get_logger()

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


class AnswerTask(WSGITask):
    """The application's answer to a request that has arrived, or that the door has refused."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ[COUNTED], environ[REFUSAL] = self.request.passed_door, self.request.refusal
        return environ

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
    parser_class = Incoming
    task_class = AnswerTask
    error_task_class = ProblemTask
    rest_unread = False  # the client still sends, and the server no longer reads
    lingering_since = 0.0
    next_waits = False  # a request that has arrived begins once the client has read the answers before it

    def readable(self) -> bool:
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

    def is_busy(self) -> bool:
        return bool(self.requests or self.request or self.total_outbufs_len)

"""A request on its way in: how large it may be, how slowly it may arrive, and what is refused at its header."""

import copy
import time
from contextlib import suppress
from typing import Any

from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.utilities import BadRequest, Error

from api.door import Door
from api.spool import Spool, check_room
from api.upload_limits import largest_request
from umbel.base.errors import StorageFull
from umbel.base.settings import Settings

LARGEST_HEADER = 2**15
IN_MEMORY = 2**20  # bytes of a request, or of an answer, beyond which they go to a temporary file
UNSENT = 2**26  # bytes of an answer that wait for a slow reader before its thread does
IDLE_SECONDS = 75  # longer than proxies keep an idle connection


class Limits(Adjustments):
    """Waitress' settings, and those of a request by its path."""

    def __init__(self, settings: Settings, door: Door, most_connections: int) -> None:
        super().__init__(
            threads=settings.api_threads,
            ident=None,
            connection_limit=most_connections,
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
        self.door = door
        self._settings = settings

    def of_request(self, method: str, path: str) -> "Limits":
        largest = largest_request(self._settings, path, method) + 1
        if largest == self.max_request_body_size:
            return self
        limits = copy.copy(self)
        limits.max_request_body_size = largest
        return limits


class TooSlow(Error):
    code = 408


class UnknownExpectation(Error):
    code = 417


class NoRoom(Error):
    code = 507


class Incoming(HTTPRequestParser):
    """A request on its way in.

    at_door: its header has arrived, and its body is not read before `Door.refusal` has been asked.
    refusal: what the door said, for the application to answer; the body is never read then.
    """

    adj: Limits
    error: Error | None
    body_rcv: Any
    completed: bool
    content_length: int
    command, path = "GET", "/"  # until the first line has arrived
    at_door = passed_door = False
    refusal: Exception | None = None
    promises_continue = False  # the client waits for `100 Continue`, which the door has to allow

    def __init__(self, adj: Limits) -> None:
        super().__init__(adj)
        self._began = time.time()

    def received(self, data: bytes) -> int:
        consumed = int(super().received(data))
        if self._swells():
            self.fail(BadRequest("The chunks of the body cannot be read."))
        elif self.error is not None and self.body_rcv is not None:
            self.fail(self.error)
        if self.completed:  # waitress would say `100 Continue` beside an error, or to a request without a body
            self.at_door = self.expect_continue = False
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # such as a Content-Length of 5,000 digits
            raise ParsingError("The header cannot be read.") from error
        self.adj = self.adj.of_request(self.command, self.path)
        if self.version == "1.1" and self.headers.get("EXPECT") and not self.expect_continue:
            self.error, self.completed = UnknownExpectation("The only expectation is 100-continue."), True
        if self.body_rcv is not None:
            self.body_rcv.buf = Spool(self.adj.inbuf_overflow)
            spooled = self.chunked or self.content_length > self.adj.inbuf_overflow
            self.at_door = self.adj.door.is_asked(self.headers, spooled=spooled)
            if self.at_door:
                self.promises_continue, self.expect_continue = self.expect_continue, False
            elif self.error is None and (no_room := self._room_error()):
                self.error, self.completed = no_room, True

    def _room_error(self) -> NoRoom | None:
        """Why a body of the announced size is not taken, though it is not too large: there is no room for it."""
        if not self.adj.inbuf_overflow < self.content_length < self.adj.max_request_body_size:
            return None
        try:
            check_room(self.content_length)
        except StorageFull as error:
            return NoRoom(error.detail)
        return None

    def pass_door(self, refusal: Exception | None, waited: float) -> None:
        """Go on after `waited` seconds at the door, without a body if there is a refusal."""
        self.at_door, self.passed_door, self.refusal = False, True, refusal
        self._began += waited
        if refusal is None:
            self.expect_continue = self.promises_continue
            if no_room := self._room_error():
                self.fail(no_room)
            return
        with suppress(OSError):
            self.close()
        self.headers.pop("CONTENT_LENGTH", None)
        self.body_rcv, self.content_length, self.completed = None, 0, True

    def fail(self, error: Error) -> None:
        """End the request, with an error for its answer and without what has arrived of it."""
        with suppress(OSError):  # closing writes what is left
            self.close()
        self.body_rcv, self.error, self.completed = None, error, True
        self.at_door = self.expect_continue = False

    def is_late(self, now: float) -> bool:
        """Whether fewer than `slow_bytes` a second have arrived, after `slow_seconds`."""
        received: int = self.header_bytes_received + self.body_bytes_received
        return not self.at_door and now > self._began + self.adj.slow_seconds + received / self.adj.slow_bytes

    def _swells(self) -> bool:
        """Whether the size of a chunk, or what follows the last, is too long: waitress keeps them in memory."""
        body = self.body_rcv
        return self.chunked and body is not None and len(body.control_line) + len(body.trailer) > LARGEST_HEADER

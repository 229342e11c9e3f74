"""A real HTTP server that receives webhooks: it takes them, fails, hangs, is gone, and comes back."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """A request, and the status that it was answered with. at: by time.perf_counter()."""

    headers: dict[str, str]
    body: bytes
    status: int
    at: float = field(default_factory=time.perf_counter)

    @property
    def event(self) -> Any:
        return json.loads(self.body)


class Receiver(ThreadingHTTPServer):
    """answers: statuses for the next requests, then `status` for all. hangs: it answers nothing until `release`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/hook"
        self.received: list[Received] = []
        self.answers: list[int] = []
        self.status = 204
        self.hangs = False
        self.hanging = threading.Semaphore(0)  # one for each request that hangs
        self.released = threading.Event()

    def taken(self) -> list[Any]:
        """The events that were answered with 2xx."""
        return [one.event for one in self.received if 200 <= one.status < 300]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.hangs:
            self.server.hanging.release()
            self.server.released.wait(30)
            return
        status = self.server.answers.pop(0) if self.server.answers else self.server.status
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append(Received(headers, body, status))
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving(count: int = 1) -> Iterator[Sequence[Receiver]]:
    """So many receivers, each on a port of its own."""
    servers = [Receiver() for _ in range(count)]
    threads = [threading.Thread(target=server.serve_forever, args=[0.02], daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield servers
    finally:
        for server in servers:
            server.released.set()
            server.shutdown()
            server.server_close()

"""A real HTTP server of pictures on this machine: it answers, refuses, redirects, drips, or says nothing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

IMAGE = bytes(range(256)) * 40
FOREVER = 30.0  # longer than any test may take


class Server(ThreadingHTTPServer):
    """Answers by path: /status/404, /redirect, /slow, /silent, /huge, /short; any other with `content`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = IMAGE
        self.hosts: list[str | None] = []
        self.paths: list[str] = []
        self.stopping = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.hosts.append(self.headers["Host"])
        self.server.paths.append(self.path)
        _, verb, *rest = self.path.partition("?")[0].split("/")
        if verb == "status":
            self._answer(int(rest[0]), b"no")
        elif verb == "redirect":
            self._answer(302, b"", Location="/picture")
        elif verb == "slow":
            self._drip()
        elif verb == "silent":
            self.server.stopping.wait(FOREVER)
        elif verb == "huge":
            self._answer(200, self.server.content * 10)
        elif verb == "short":
            self._answer(200, IMAGE, **{"Content-Length": str(2 * len(IMAGE))})
        else:
            self._answer(200, self.server.content)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def _drip(self) -> None:
        """A byte now and then: no single read ever waits for long."""
        self.send_response(200)
        self.end_headers()
        try:
            while not self.server.stopping.wait(0.05):
                self.wfile.write(b"x")
                self.wfile.flush()
        except OSError:
            pass

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    """One, on a port of its own."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.stopping.set()
            running.shutdown()
            thread.join(10)

"""A reverse proxy as people put one before the API: on a port of its own, below a path or not, with what it tells."""

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

HOP = ("connection", "host", "transfer-encoding", "content-length", "server", "date")


@contextmanager
def reverse_proxy(upstream: int, *, prefix: str = "", tells: Mapping[str, str] | None = None) -> Iterator[str]:
    """The URL of a proxy before the API on the port `upstream`. prefix: the path that it strips.

    tells: headers that it sets; {host} is the Host that it got, {name} that without the port.
    """
    told = {"Host": "{host}"} if tells is None else tells

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            host = self.headers["Host"]
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
            headers |= {name: value.format(host=host, name=host.rpartition(":")[0]) for name, value in told.items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = http.client.HTTPConnection("127.0.0.1", upstream, timeout=60)
            connection.request(self.command, self.path.removeprefix(prefix), body or None, headers)
            answer = connection.getresponse()
            data = answer.read()
            connection.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}{prefix}"
    finally:
        server.shutdown()
        server.server_close()

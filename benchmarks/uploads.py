"""How many uploads a second are accepted, beside the least that the same web server can do with such a request?

Run `python -m benchmarks.uploads`: 16 clients, each on a connection of its own that stays open, send POST /v1/images
with pictures that differ, each as soon as it is answered; by turns to our API and to a Flask application that reads
the body, hashes it and drops it (benchmarks/bare.py), both behind the same web server. No worker runs: it would take
the cores. Postgres and the blob store are as durable as ever, so each 202 of ours has been waiting for the disk.
Clients send bytes made before, so that they cost the shared cores little. api_cpu_ms: for each upload, of the processes
that serve; Postgres is not among them.
"""

import argparse
import io
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from benchmarks.common import BLOCKS, own_home, spread, write
from benchmarks.database import own_database, own_server
from benchmarks.served import Served, served

CLIENTS = 16
EACH = 40  # uploads of a client in a block
BOUNDARY = "a-line-between-parts"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=640, help="of the pictures, in pixels")
    side = parser.parse_args().side
    with own_home() as home:
        from stack.redis import Redis  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415 - settings are read at the first use, so the home comes first

        images = drawn_jpegs(side)
        redis = Redis(home, settings().socket_dir)
        with own_server(home) as server, own_database(server, "uploads"):
            redis.start()
            try:
                with served() as ours, served("benchmarks.bare") as bare:
                    rates, cpu = _measure({"ours": ours, "bare": bare}, images)
            finally:
                redis.stop()
    sent = CLIENTS * EACH * (BLOCKS + 1)
    share = [one / other for one, other in zip(rates["ours"], rates["bare"], strict=True)]
    write(
        "uploads",
        {
            "clients": CLIENTS,
            "bytes": len(images[0]),
            "api_processes": settings().api_processes or 2,
            "api_threads": settings().api_threads,
            "a_second": {name: spread(found) for name, found in rates.items()},
            "of_bare": spread(share),
            "api_cpu_ms": {name: round(1000 * sum(each) / sent, 3) for name, each in cpu.items()},
            "share_of_the_busiest_process": {name: round(max(each) / sum(each), 2) for name, each in cpu.items()},
        },
    )


def _measure(apis: dict[str, Served], images: Sequence[bytes]) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Accepted uploads a second of each in each block, after one that does not count; the order alternates. And the
    seconds of CPU that the processes of each took for all of them."""
    rates: dict[str, list[float]] = {name: [] for name in apis}
    before = {name: api.cpu_seconds() for name, api in apis.items()}
    numbers = count()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for block in range(BLOCKS + 1):
            for name in list(apis)[:: 1 if block % 2 else -1]:
                sent = [[request(images, next(numbers)) for _ in range(EACH)] for _ in range(CLIENTS)]
                clients = [Client(apis[name].port) for _ in range(CLIENTS)]
                began = time.perf_counter()
                list(pool.map(Client.send_all, clients, sent))
                taken = time.perf_counter() - began
                for client in clients:
                    client.close()
                if block:
                    rates[name].append(CLIENTS * EACH / taken)
    cpu = {
        name: [after - begun for after, begun in zip(api.cpu_seconds(), before[name], strict=True)]
        for name, api in apis.items()
    }
    return rates, cpu


class Client:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send_all(self, requests: Sequence[bytes]) -> None:
        for one in requests:
            self._socket.sendall(one)
            self._receive()

    def _receive(self) -> None:
        """One answer, to its end. Raises AssertionError unless it is a 202."""
        got = b""
        while b"\r\n\r\n" not in got:
            got += self._some()
        head, _, body = got.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(fields[b"content-length"]):
            body += self._some()
        assert head.split(b" ", 2)[1] == b"202", head + body

    def _some(self) -> bytes:
        some = self._socket.recv(65_536)
        assert some, "The server closed the connection."
        return some

    def close(self) -> None:
        self._socket.close()


def request(images: Sequence[bytes], number: int) -> bytes:
    """A whole HTTP request with a picture that no other has: a JPEG comment more makes other bytes."""
    image = images[number % len(images)]
    comment = f"upload {number}".encode()
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{number}.jpg"\r\n'.encode(),
        b"Content-Type: image/jpeg\r\n\r\n",
        image[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + image[2:],
        f"\r\n--{BOUNDARY}--\r\n".encode(),
    ]
    body = b"".join(parts)
    head = (
        f"POST /v1/images HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    return head.encode() + body


def drawn_jpegs(side: int) -> list[bytes]:
    """Drawn flowers as JPEGs of that size."""
    from garden import draw_specimen  # noqa: PLC0415

    files = [io.BytesIO() for _ in range(8)]
    for number, file in enumerate(files):
        draw_specimen(number, 0, 0, size=side).save(file, "JPEG", quality=90)
    return [file.getvalue() for file in files]


if __name__ == "__main__":
    main()

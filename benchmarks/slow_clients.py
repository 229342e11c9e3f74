"""What do 200 clients that send a byte a second do to one that does not?

The API as `umbel api` serves it, with Postgres and Redis and no worker. A healthy client lists images, on a connection
of its own each time, while nobody else calls, then beside clients that are slow with their headers, and beside
clients that are slow with the picture they upload. The blocks are interleaved. `--command` measures another server.
"""

import argparse
import io
import os
import shlex
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from benchmarks.common import free_port, own_servers, spread, write
from benchmarks.served import answer_of

SLOW = 200
ROUNDS = 3
REQUESTS = 200  # of the healthy client, in each block
PATIENCE = 2  # seconds until a slow client is sent away, so that some are while we look
HEADER = b"POST /v1/images HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BODY = HEADER + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 100000\r\n\r\n--x\r\n"
UMBEL = shlex.join([sys.executable, "-P", "-m", "cli.main", "api"])


@contextmanager
def serving(command: str, port: int) -> Iterator[None]:
    """The API as a process, until it answers."""
    environment = {**os.environ, "UMBEL_PORT": str(port), "UMBEL_SLOW_SECONDS": str(PATIENCE)}
    process = subprocess.Popen(shlex.split(command.format(port=port)), env=environment)
    try:
        until = time.monotonic() + 60
        while answer_of(port, "/healthz") != 200:
            assert time.monotonic() < until, "the API does not come up"
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def slow_clients(port: int, begin: bytes) -> Iterator[dict[str, int]]:
    """SLOW clients that say `begin` and then a byte a second; they come back when they are sent away.

    Yields how often they got which status.
    """
    got: dict[str, int] = {}
    done = threading.Event()
    drip = b"X-Slow: 1\r\n" if begin is HEADER else b"0"

    def one(number: int) -> None:
        done.wait(number / SLOW)  # not all in one moment
        while not done.is_set():
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.settimeout(1)
                at = 0
                try:
                    client.sendall(begin)
                    while not done.is_set():
                        try:
                            answer = client.recv(100)
                        except TimeoutError:
                            client.sendall(drip[at % len(drip) :][:1])
                            at += 1
                            continue
                        status = answer.split()[1].decode() if answer else "closed"
                        got[status] = got.get(status, 0) + 1
                        break
                except OSError:
                    got["broken"] = got.get("broken", 0) + 1

    threads = [threading.Thread(target=one, args=(number,)) for number in range(SLOW)]
    for thread in threads:
        thread.start()
    time.sleep(2)  # all are there
    try:
        yield got
    finally:
        done.set()
        for thread in threads:
            thread.join()


def healthy(port: int) -> tuple[float, int]:
    """The 95th percentile of the healthy client's milliseconds, and how many of its requests were not answered."""
    taken, lost = [], 0
    for _ in range(REQUESTS):
        began = time.perf_counter()
        lost += answer_of(port, "/v1/images?limit=10", timeout=5) != 200
        taken.append((time.perf_counter() - began) * 1000)
        if lost > 10:
            break
    return statistics.quantiles(taken, n=20)[-1], lost


def rates(port: int, clients: int) -> dict[str, float]:
    """Answers a second to this many clients at once: short ones, and uploads of 1 MB."""
    with ThreadPoolExecutor(clients) as pool:
        began = time.perf_counter()
        statuses = list(pool.map(lambda _: answer_of(port, "/v1/images?limit=10", timeout=30), range(600)))
        listing = len(statuses) / (time.perf_counter() - began)
        assert set(statuses) == {200}, set(statuses)
        bodies = [upload(seed) for seed in range(64)]
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        began = time.perf_counter()
        statuses = list(pool.map(lambda body: answer_of(port, "/v1/images", timeout=60, body=body, **kind), bodies))
        assert set(statuses) <= {202}, set(statuses)
        return {"lists_per_second": listing, "uploads_per_second": len(bodies) / (time.perf_counter() - began)}


def upload(seed: int) -> bytes:
    """A form with a picture of about a megabyte that nobody has sent before."""
    import numpy as np  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    random = np.random.default_rng([seed, time.time_ns()])
    out = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (640, 560, 3), np.uint8)).save(out, "PNG", compress_level=0)
    return (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        + out.getvalue()
        + b"\r\n--x--\r\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command", default=UMBEL, help="what serves the API on {port}")
    parser.add_argument("--dry", action="store_true", help="keep no result")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    port = free_port()
    with own_servers(), serving(asked.command, port):
        answer = measured(port, asked.rounds)
    if asked.dry:
        print(answer)
    else:
        write("slow_clients", answer)


def measured(port: int, rounds: int) -> dict[str, object]:
    p95: dict[str, list[float]] = {"idle": [], "slow_headers": [], "slow_bodies": []}
    unanswered = dict.fromkeys(p95, 0)
    sent_away: dict[str, dict[str, int]] = {}
    throughput: dict[str, list[float]] = {}
    healthy(port)
    for _ in range(rounds):
        for name, value in rates(port, 8).items():
            throughput.setdefault(name, []).append(value)
        for name, begin in (("idle", b""), ("slow_headers", HEADER), ("slow_bodies", BODY)):
            if begin:
                with slow_clients(port, begin) as got:
                    taken, lost = healthy(port)
                sent_away[name] = got
            else:
                taken, lost = healthy(port)
            p95[name].append(taken)
            unanswered[name] += lost
    idle = statistics.median(p95["idle"])
    return {
        "slow_clients": SLOW,
        "patience_seconds": PATIENCE,
        "requests": REQUESTS * rounds,
        "p95_ms": {name: spread(values) for name, values in p95.items()},
        "times_idle": {name: round(statistics.median(values) / idle, 2) for name, values in p95.items()},
        "unanswered": unanswered,
        "slow_clients_got": sent_away,
        "throughput_8_clients": {name: spread(values) for name, values in throughput.items()},
    }


if __name__ == "__main__":
    main()

"""How long do health checks take while every search waits and no worker is there?

The API as `umbel api` serves it, with Postgres and Redis and no worker. 64 clients search by a picture again and
again: as many as may wait for a worker, the others are told to come back. Beside them a probe asks on new connections.
"""

import argparse
import json
import statistics
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.common import own_servers, write
from benchmarks.served import answer_of, served
from tests.images import image_bytes

SEARCHES = 64
PROBES = 200
PATHS = ("/healthz", "/readyz", "/metrics", "/v1/images?limit=10")


@contextmanager
def searching(port: int, body: bytes) -> Iterator[dict[int, int]]:
    """SEARCHES clients that search; yields how often they got which status."""
    got: dict[int, int] = {}
    done = threading.Event()

    def one() -> None:
        while not done.is_set():
            status = answer_of(port, "/v1/search", timeout=30, body=body)
            got[status] = got.get(status, 0) + 1
            done.wait(2)  # as Retry-After says

    threads = [threading.Thread(target=one, daemon=True) for _ in range(SEARCHES)]
    for thread in threads:
        thread.start()
    time.sleep(3)  # places are taken, and those that find none know
    try:
        yield got
    finally:
        done.set()


def probed(port: int) -> dict[str, object]:
    """Milliseconds of each path: median, 95th percentile, the longest; and the statuses."""
    result: dict[str, object] = {}
    for path in PATHS:
        taken, statuses = [], set()
        for _ in range(PROBES):
            began = time.perf_counter()
            statuses.add(answer_of(port, path, timeout=10))
            taken.append((time.perf_counter() - began) * 1000)
        p95 = statistics.quantiles(taken, n=20)[-1]
        figures = {"median": statistics.median(taken), "p95": p95, "longest": max(taken)}
        result[path.partition("?")[0]] = {name: round(value, 1) for name, value in figures.items()} | {
            "statuses": sorted(statuses)
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry", action="store_true", help="keep no result")
    asked = parser.parse_args()
    with own_servers(), served() as api:
        idle = probed(api.port)
        body = json.dumps({"image": b64encode(image_bytes(1)).decode()}).encode()
        with searching(api.port, body) as got:
            answer = {
                "searches": SEARCHES,
                "probes": PROBES,
                "idle_ms": idle,
                "beside_searches_ms": probed(api.port),
            }
        answer["searches_got"] = {str(status): count for status, count in sorted(got.items())}
        api.process.kill()  # it would wait for the searches
    if asked.dry:
        print(json.dumps(answer, indent=2))
    else:
        write("waiting_searches", answer)


if __name__ == "__main__":
    main()

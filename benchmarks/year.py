"""Is a service as quick after a year of use as on its first day, and does pruning keep up?

Run `python -m benchmarks.year [--items 5000000] [--images 20000] [--home HOME]`: two copies of the gallery of
benchmarks/growth.py (with --home it stays there, and one that is there is taken again), both with today's jobs; one has
the jobs of the year before too, that many finished items: three quarters of them nightly imports of the same pictures,
the rest uploads with a job each, none pruned. Both have an API, and requests go to them by turns; after each
block items are claimed and stored in each. At the end the year's jobs that are older than UMBEL_JOB_DAYS are pruned for
PRUNE_SECONDS, as the workers' cleanup does it.
"""

import argparse
import http.client
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import BLOCKS, named, own_home, seconds, spread, write
from benchmarks.database import DIM, copy_database, own_database, own_server
from benchmarks.growth import BUFFERS, originals, prepare
from benchmarks.queue import BATCH, Storing, make_job
from benchmarks.served import served

ITEMS = 5_000_000
IMAGES = 20_000
DAYS = 365
REQUESTS = 40  # of each kind in a block
CLAIMED = 50 * BATCH  # items in a block
PRUNE_SECONDS = 60

# One day's jobs, that many days ago: an import of pictures that are there, and uploads. By a superuser, without
# triggers, which would take an hour.
DAY = """
WITH imported AS (
    INSERT INTO job (id, type, collection_id, closed, total, duplicate, created_at, started_at, finished_at)
    SELECT uuidv7(make_interval(days => -%(ago)s)), 'import', (SELECT id FROM collection WHERE name = 'default'), true,
           %(imported)s, %(imported)s, day, day, day
    FROM (SELECT now() - make_interval(days => %(ago)s) AS day) RETURNING id, created_at
), uploads AS (
    INSERT INTO job (id, type, collection_id, closed, total, indexed, created_at, started_at, finished_at)
    SELECT uuidv7(make_interval(days => -%(ago)s)), 'upload', (SELECT id FROM collection WHERE name = 'default'), true,
           1, 1, day, day, day
    FROM (SELECT now() - make_interval(days => %(ago)s) AS day), generate_series(1, %(uploads)s)
    RETURNING id, created_at
)
INSERT INTO job_item (id, job_id, image_id, queue, state, name, attempts, created_at, finished_at)
SELECT uuidv7(make_interval(days => -%(ago)s)), imported.id, numbered.id, 'bulk', 'duplicate',
       'folder/' || numbered.n || '.jpg', 1, created_at, created_at
FROM imported, numbered WHERE numbered.n <= %(imported)s
UNION ALL
SELECT uuidv7(make_interval(days => -%(ago)s)), uploads.id, NULL, 'single', 'indexed', 'upload.jpg', 1, created_at,
       created_at
FROM uploads
"""
SIZES = """
SELECT relname, pg_total_relation_size(oid) / 1048576 FROM pg_class WHERE relname IN ('job', 'job_item')
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--home", type=Path, help="folder whose gallery is kept")
    asked = parser.parse_args()
    size, a_day = asked.images, asked.items // DAYS
    with own_home(asked.home) as home:
        from stack.redis import Redis  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415 - settings are read at the first use, so the home comes first

        redis = Redis(home, settings().socket_dir)
        with own_server(home, shared_buffers=BUFFERS, max_wal_size="4GB") as server:
            redis.start()
            try:
                prepare(server, size, *originals(home, None), home / f"growth_{size}.json")
                made = {name: _make(server, size, name, days, a_day) for name, days in KINDS.items()}
                found = _measure(server)
                pruned = _prune(server)
            finally:
                redis.stop()
    write(
        named("year", size),
        {"images": size, "dim": DIM, "requests": REQUESTS, "databases": made, **found, "pruning": pruned},
    )


KINDS = {"fresh": 0, "lived": DAYS}  # days before today


def _make(server: Any, size: int, name: str, days: int, a_day: int) -> dict[str, Any]:
    """A copy of the gallery, and jobs of today and the days before, with so many finished items each."""
    copy_database(server, f"growth_{size}", name)
    with server.connect(name) as session:
        session.execute("SET session_replication_role = replica")
        session.execute("CREATE TEMP TABLE numbered AS SELECT row_number() OVER (ORDER BY id) AS n, id FROM image")
        imported = min(a_day * 3 // 4, size)
        told = {"imported": imported, "uploads": a_day - imported}
        took = seconds(lambda: [session.execute(DAY, {**told, "ago": ago}) for ago in range(days, -1, -1)])
        session.execute("INSERT INTO tally SELECT 'jobs', status, count(*) FROM job GROUP BY status")
        session.execute("VACUUM (ANALYZE) job, job_item, image, tally")
        [(jobs, rows)] = session.execute(
            "SELECT (SELECT count(*) FROM job), (SELECT count(*) FROM job_item)"
        ).fetchall()
        sizes = {f"{table}_mb": int(size) for table, size in session.execute(SIZES).fetchall()}
    return {"items": rows, "jobs": jobs, **sizes, "filled_seconds": round(took)}


class Client:
    """Requests of each kind, one after the other, to the API of one database."""

    def __init__(self, port: int, numbers: Iterator[int]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._numbers = numbers
        jobs = self._ask("GET", "/v1/jobs?limit=1&type=import")["items"]
        self._job = jobs[0]["id"]
        self._images = [each["image_id"] for each in self._ask("GET", "/v1/images?limit=100")["items"]]
        self.kinds: Mapping[str, Callable[[], object]] = {
            "search": lambda: self._ask("POST", "/v1/search", {"image_id": self._image(), "k": 10}),
            "list of images": lambda: self._ask("GET", "/v1/images?limit=100"),
            "image": lambda: self._ask("GET", f"/v1/images/{self._image()}"),
            "list of jobs": lambda: self._ask("GET", "/v1/jobs?limit=50"),
            "job": lambda: self._ask("GET", f"/v1/jobs/{self._job}"),
            "items of a job": lambda: self._ask("GET", f"/v1/jobs/{self._job}/items?limit=100"),
            "upload": self._upload,
            "metrics": lambda: self._read("GET", "/metrics", None, {}),
        }

    def _image(self) -> str:
        return str(self._images[next(self._numbers) % len(self._images)])

    def _upload(self) -> None:
        file, number = io.BytesIO(), next(self._numbers)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(file, "JPEG")
        body = (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
            + file.getvalue()
            + b"\r\n--x--\r\n"
        )
        self._read("POST", "/v1/images", body, {"Content-Type": "multipart/form-data; boundary=x"})

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        return json.loads(self._read(method, path, sent, {"Content-Type": "application/json"} if sent else {}))

    def _read(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status < 300, (path, content)
        return content


def _measure(server: Any) -> dict[str, Any]:
    """Milliseconds of each kind of request, and items claimed and stored a second, in each database, block by block."""
    took: dict[str, dict[str, list[list[float]]]] = {name: {} for name in KINDS}
    claimed: dict[str, list[float]] = {name: [] for name in KINDS}
    numbers = count()
    with (
        served(UMBEL_DATABASE_URL=server.url("fresh")) as fresh,
        served(UMBEL_DATABASE_URL=server.url("lived")) as lived,
    ):
        clients = {"fresh": Client(fresh.port, numbers), "lived": Client(lived.port, numbers)}
        for block in range(BLOCKS + 1):
            for kind in clients["fresh"].kinds:
                times: dict[str, list[float]] = {name: [] for name in KINDS}
                for number in range(REQUESTS):
                    for name in list(KINDS)[:: 1 if number % 2 else -1]:
                        times[name].append(1000 * seconds(clients[name].kinds[kind]))
                if block:
                    for name in KINDS:
                        took[name].setdefault(kind, []).append(times[name])
            for name in list(KINDS)[:: 1 if block % 2 else -1]:
                rate = _claim(server, name)
                if block:
                    claimed[name].append(rate)
    kinds = {kind: {name: took[name][kind] for name in KINDS} for kind in took["fresh"]}
    return {
        f"{title}_ms": {kind: {name: _at(each, share) for name, each in of.items()} for kind, of in kinds.items()}
        for title, share in (("p50", 50), ("p95", 95))
    } | {
        "lived_over_fresh": {
            kind: {title: spread(_ratios(of, share)) for title, share in (("p50", 50), ("p95", 95))}
            for kind, of in kinds.items()
        },
        "claimed_a_second": {name: spread(rates) for name, rates in claimed.items()},
        "claims_lived_over_fresh": spread([a / b for a, b in zip(claimed["lived"], claimed["fresh"], strict=True)]),
    }


def _at(blocks: list[list[float]], share: int) -> dict[str, float]:
    return spread([float(np.percentile(each, share)) for each in blocks])


def _ratios(of: Mapping[str, list[list[float]]], share: int) -> list[float]:
    pairs = zip(of["lived"], of["fresh"], strict=True)
    return [float(np.percentile(lived, share) / np.percentile(fresh, share)) for lived, fresh in pairs]


def _claim(server: Any, name: str) -> float:
    """Items that are claimed and stored a second, by one worker that does nothing with them."""
    with own_database(server, name):
        from umbel.base.database import transaction  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415
        from umbel.jobs.leases import Leases  # noqa: PLC0415

        make_job(CLAIMED)
        handler = Storing(transaction=transaction, settings=settings(), leases=Leases(transaction, "bench", 60))
        return CLAIMED / seconds(handler.run)


def _prune(server: Any) -> dict[str, Any]:
    """What the cleanup removes of the lived database's jobs in PRUNE_SECONDS, and how long one cleanup takes."""
    with own_database(server, "lived"), server.connect("lived") as session:
        from umbel.base.database import transaction  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415
        from umbel.operations.retention import TURNS, delete_old_jobs  # noqa: PLC0415

        def items() -> int:
            [(rows,)] = session.execute("SELECT count(*) FROM job_item").fetchall()
            return int(rows)

        before, began, runs, left = items(), time.perf_counter(), [], True
        while left and time.perf_counter() - began < PRUNE_SECONDS:
            run = time.perf_counter()
            left = not delete_old_jobs(transaction, settings().job_days)
            runs.append(time.perf_counter() - run)
        taken, removed = time.perf_counter() - began, before - items()
    return {
        "job_days": settings().job_days,
        "removed_items": removed,
        "items_a_second": round(removed / taken),
        "days_of_use_in_a_minute": round(removed / taken * 60 / (before / DAYS), 1),
        "cleanup_seconds": spread(runs),
        "transactions_a_cleanup": TURNS,
    }


if __name__ == "__main__":
    main()

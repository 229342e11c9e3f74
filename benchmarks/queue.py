"""How many items a second are claimed and stored while a dump holds a snapshot, and what waits while 500,000 change?

Run `python -m benchmarks.queue [--items 200000] [--large 500000]`. First a handler that does nothing but claim and
store works off a job, on a real Postgres: without and with a transaction open since before (REPEATABLE READ, as
pg_dump's), and with claims that begin at the first item each time. `early` and `late`: the first and the last tenth.
Then all items of a larger job are paused, resumed, cancelled, failed and tried again, in the time that is told, while
another job is claimed from and uploads come into it: `longest` and `median` are what those took meanwhile, in ms.
"""

import argparse
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import median
from typing import Any
from uuid import UUID

from sqlalchemy import text

from benchmarks.common import own_home, write
from benchmarks.database import own_server
from umbel.base.types import Queue
from umbel.jobs import claims, jobs, positions
from umbel.jobs.leases import Leases
from umbel.jobs.runner import Batch, ItemHandler
from umbel.jobs.settling import settle
from umbel.operations import job_actions

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--large", type=int, default=500_000)
    asked = parser.parse_args()
    with own_home() as home:
        from umbel.base import schema  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415 - read at the first use, so the home comes first

        with own_server(home):
            schema.upgrade(settings().database)
            per_second = {
                "alone": _worked_off(asked.items, nullcontext()),
                "beside_a_snapshot": _worked_off(asked.items, _snapshot()),
                "beside_a_snapshot_from_the_first": _worked_off(asked.items, _snapshot(), from_first=True),
            }
            changes = _changed(asked.large)
    write("queue", {"items": asked.items, "per_second": per_second, "large": asked.large, "changes": changes})


class Storing(ItemHandler[Batch]):
    """Claims and stores."""

    queues = (Queue.BULK,)
    batch_type = Batch
    ended_as = "stored"

    def limit(self, batches: int) -> int:
        return BATCH

    def work(self, batches: Iterator[Batch]) -> Generator[Batch, None, None]:
        for batch in batches:
            batch.ready = list(batch.items)
            yield batch


def _worked_off(items: int, beside: AbstractContextManager[Any], *, from_first: bool = False) -> dict[str, float]:
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415

    _empty()
    make_job(items)
    quick = positions.QUICK_SECONDS
    stored: list[float] = []

    class Timed(Storing):
        def store(self, batch: Batch) -> None:
            super().store(batch)
            stored.append(time.perf_counter())

    try:
        positions.QUICK_SECONDS = float("inf") if from_first else quick
        with beside:
            began = time.perf_counter()
            Timed(transaction=transaction, settings=settings(), leases=Leases(transaction, "bench", 60)).run()
    finally:
        positions.QUICK_SECONDS = quick
    tenth = len(stored) // 10
    return {
        "all": round(items / (stored[-1] - began)),
        "early": round(tenth * BATCH / (stored[tenth - 1] - began)),
        "late": round(tenth * BATCH / (stored[-1] - stored[-1 - tenth])),
    }


def _changed(items: int) -> dict[str, dict[str, float]]:
    from umbel.base.database import transaction  # noqa: PLC0415

    _empty()
    job_id, other = make_job(items), make_job(BATCH * 2_000)

    def fail() -> None:
        with transaction() as session:
            session.execute(
                text("""
                    UPDATE job_item SET state = 'failed', finished_at = now(), error_code = 'bench', error_detail = '-'
                    WHERE job_id = :id AND state = 'pending'
                """),
                {"id": job_id},
            )

    changes: dict[str, Callable[[], object]] = {
        "pause": lambda: job_actions.pause_job(transaction, job_id),
        "resume": lambda: job_actions.resume_job(transaction, Silent(), job_id),  # type: ignore[arg-type]
        "retry": lambda: job_actions.retry_job(transaction, Silent(), job_id),  # type: ignore[arg-type]
        "cancel": lambda: job_actions.cancel_job(transaction, job_id),
    }
    found = {}
    for name, change in changes.items():
        if name == "retry":
            fail()
        waits: dict[str, list[float]] = {"claim": [], "upload": []}
        with _beside(other, waits):
            began = time.perf_counter()
            change()
            answered = time.perf_counter() - began
            settle(transaction, job_id, seconds=600)
            taken = time.perf_counter() - began
        found[name] = {"answered_s": round(answered, 2), "seconds": round(taken, 1)}
        for what, times in waits.items():
            found[name] |= {f"{what}_longest": round(max(times), 1), f"{what}_median": round(median(times), 1)}
    return found


@contextmanager
def _beside(job_id: UUID, waits: dict[str, list[float]]) -> Iterator[None]:
    """Claims from a job and uploads into it, one after the other in a thread each, while this lasts."""
    from umbel.base.database import transaction  # noqa: PLC0415

    over, place = threading.Event(), positions.Positions()

    def claim() -> None:
        # As workers do it: claims from the first item on come past all of the job that are not to be claimed yet, and
        # the more of it is brought back, the longer those take. So they are seldom made.
        with transaction() as session:
            claims.claim_items(session, Queue.BULK, owner="bench", limit=8, lease_seconds=600, positions=place)

    def upload() -> None:
        with transaction() as session:
            jobs.lock_jobs(session, [job_id])
            session.execute(ITEMS, {"job": job_id, "first": 1, "count": 1})

    def repeat(what: str, work: Callable[[], None]) -> None:
        while not over.is_set():
            began = time.perf_counter()
            work()
            waits[what].append(1000 * (time.perf_counter() - began))
            over.wait(0.01)

    threads = [threading.Thread(target=repeat, args=each) for each in (("claim", claim), ("upload", upload))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


class Silent:
    """A waker that wakes no worker."""

    def wake(self, queue: object) -> bool:
        return False


IMAGES = text("""
    INSERT INTO image (collection_id, sha256, blob_key, media_type, size, width, height)
    SELECT :collection, sha256(n::text::bytea), 'pictures/' || n, 'image/jpeg', 1, 1, 1
    FROM generate_series(1, :count) n ON CONFLICT DO NOTHING
""")
ITEMS = text("""
    INSERT INTO job_item (job_id, image_id, queue, state, name)
    SELECT :job, id, 'bulk', 'pending', blob_key FROM image ORDER BY id LIMIT :count
""")


def make_job(items: int) -> UUID:
    """A job with so many items, of images that are there."""
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.base.types import JobType  # noqa: PLC0415
    from umbel.gallery.collections import upsert_collection  # noqa: PLC0415

    with transaction() as session:
        collection = upsert_collection(session, "bench")
        session.execute(IMAGES, {"collection": collection, "count": items})
        job_id = jobs.insert_job(session, JobType.IMPORT, closed=True, collection_id=collection)
        session.execute(ITEMS, {"job": job_id, "count": items})
    return job_id


def _empty() -> None:
    from umbel.base.database import autocommit  # noqa: PLC0415

    with autocommit() as session:
        session.execute(text("TRUNCATE job CASCADE"))
        session.execute(text("VACUUM (ANALYZE) image"))


@contextmanager
def _snapshot() -> Iterator[None]:
    """A transaction that sees the database as it is now, and keeps all that is changed from being vacuumed."""
    from umbel.base.database import transaction  # noqa: PLC0415

    with transaction() as session:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        session.execute(text("SELECT count(*) FROM job"))
        yield


if __name__ == "__main__":
    main()

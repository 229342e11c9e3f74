"""What observing costs a picture: log lines, metrics and spans of one batch, without any of the work they tell of.

    python -m benchmarks.observing

Prints microseconds a picture, for a batch of uploads (a job each), for a batch of an import (one job), and what of it
tracing adds when every request is traced. Spans are made and thrown away; a collector costs the network.
"""

import os
import time
from collections.abc import Callable
from uuid import uuid4

import structlog

from umbel.base import metrics, tracing
from umbel.base.logging import configure_logging
from umbel.base.settings import Settings
from umbel.base.types import Queue
from umbel.jobs import job_log
from umbel.jobs.claims import ClaimedItem

IMAGES, ROUNDS = 32, 300
TRACEPARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"


def batch(jobs: int, traceparent: str | None) -> list[ClaimedItem]:
    """Claimed items of so many jobs."""
    ids = [uuid4() for _ in range(jobs)]
    return [
        ClaimedItem(
            id=uuid4(),
            job_id=ids[n % jobs],
            collection_id=uuid4(),
            attempts=1,
            request_id=uuid4().hex,
            traceparent=traceparent,
            waited=0.2,
            image_id=uuid4(),
            blob_key="pictures/a",
        )
        for n in range(IMAGES)
    ]


def observe(queue: Queue, items: list[ClaimedItem]) -> None:
    """All that a batch leaves behind on its way, as umbel.embedding.embedding has it."""
    job_log.claimed(queue, items)
    for stage in ("claim", "decode", "forward", "store"):
        with job_log.stage(stage, queue, items, traced=queue != Queue.SINGLE or stage != "decode"):
            pass
    for item in items:
        for times, step in ((metrics.READS, "read"), (metrics.DECODES, "decode")):
            times.observe(0.001)
            tracing.record(step, item.traceparent if queue == Queue.SINGLE else None, 0.001)
    job_log.ended("embedded", queue, items, [item.id for item in items], {})


def microseconds(work: Callable[[], None]) -> float:
    """A picture, the median of the rounds."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return sorted(times)[ROUNDS // 2] / IMAGES * 1e6


def main() -> None:
    """Measure, and print a table."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    configure_logging(Settings(log_json=True))
    structlog.get_logger().info("begun")
    for traced in (False, True):
        if traced:
            tracing.configure_tracing(Settings(trace_endpoint="http://127.0.0.1:1"), "bench")
        parent = TRACEPARENT if traced else None
        for queue, jobs in ((Queue.SINGLE, IMAGES), (Queue.BULK, 1)):
            items = batch(jobs, parent)
            cost = microseconds(lambda queue=queue, items=items: observe(queue, items))  # type: ignore[misc]
            print(f"{queue.value:>8}  traced: {traced!s:<5}  {cost:7.1f} µs a picture")
    os._exit(0)  # nobody listens to what the exporter still wants to send


if __name__ == "__main__":
    main()

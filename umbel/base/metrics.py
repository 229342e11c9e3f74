"""What this process counts and times for Prometheus. docs/metrics.md lists it all and is made of this.

Not the ledger's own figures (queue depth, jobs, recall): umbel/operations/statistics.py reads them at each scrape.
"""

import os
from pathlib import Path

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from umbel.base.settings import share_no_metrics, shared_metrics

log = structlog.get_logger()

MILLISECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
MINUTES = (0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

REQUESTS = Histogram(
    "umbel_request_seconds", "Requests, by route and answer.", ["method", "route", "status"], buckets=SECONDS
)
SEARCHES = Histogram(
    "umbel_search_seconds",
    "Nearest-neighbor search in Postgres, by mode: exact or hnsw.",
    ["mode"],
    buckets=MILLISECONDS,
)
QUERY_VECTORS = Histogram("umbel_query_vector_seconds", "Waiting for a worker to embed a query image.", buckets=SECONDS)
FAILED_WAKEUPS = Counter("umbel_failed_wakeups_total", "Wake-ups that Redis did not take; the sweep repeats them.")
UNLIMITED = Counter("umbel_rate_limit_skipped_total", "Requests admitted without a rate limit because Redis was down.")
DATABASE_READS = Counter(
    "umbel_database_reads_total",
    "Reads for which there are replicas, by what answered: replica, primary, or again: the primary after a replica.",
    ["answered_by"],
)
REPLICA_LAG = Gauge(
    "umbel_replica_lag_seconds", "Changes that a replica may lack.", ["replica"], multiprocess_mode="max"
)

ITEM_WAITS = Histogram(
    "umbel_item_wait_seconds", "From the creation of an item to its first claim.", ["queue"], buckets=MINUTES
)
BATCHES = Histogram("umbel_batch_images", "Items claimed together.", ["queue"], buckets=SIZES)
STAGES = Histogram(
    "umbel_stage_seconds",
    "One stage of one batch: claim, read (of a source), decode, forward, store; answer (searches).",
    ["stage", "queue"],
    buckets=SECONDS,
)
READS = Histogram("umbel_image_read_seconds", "Reading one image from the blob store.", buckets=MILLISECONDS)
DECODES = Histogram("umbel_image_decode_seconds", "Decoding one image.", buckets=MILLISECONDS)
UNCONFINED = Gauge(
    "umbel_decoders_unconfined",
    "1 if decoders run without seccomp, with limits of memory, time and files only; else 0, also before any runs.",
    multiprocess_mode="max",
)
FINISHED = Counter(
    "umbel_items_finished_total", "Items that were fetched, embedded or compared, or failed.", ["queue", "outcome"]
)
FAILURES = Counter("umbel_item_failures_total", "Items that failed, by error code.", ["queue", "code"])
RETRIES = Counter("umbel_item_retries_total", "Items that returned to the queue after an attempt.", ["queue"])
GPU_MEMORY = Gauge("umbel_gpu_memory_bytes", "Memory of the GPU: allocated, reserved, free, total.", ["kind"])

LISTENERS = Gauge("umbel_event_listeners", "Listeners of GET /v1/events.", multiprocess_mode="livesum")
CLEANED_UP = Gauge(
    "umbel_cleanup_complete_timestamp_seconds",
    "When a cleanup last left nothing to do, or this worker first ran it: of blobs, versions, tiles, trash, jobs,"
    " events.",
    ["of"],
)
DELIVERIES = Histogram(
    "umbel_webhook_seconds",
    "One attempt to deliver an event to a webhook: delivered or failed.",
    ["outcome"],
    buckets=SECONDS,
)

BY_API: tuple[MetricWrapperBase, ...] = (
    REQUESTS,
    SEARCHES,
    QUERY_VECTORS,
    FAILED_WAKEUPS,
    UNLIMITED,
    DATABASE_READS,
    REPLICA_LAG,
    LISTENERS,
)
BY_BOTH: tuple[MetricWrapperBase, ...] = (READS, DECODES, UNCONFINED)
BY_WORKERS: tuple[MetricWrapperBase, ...] = (
    ITEM_WAITS,
    BATCHES,
    STAGES,
    FINISHED,
    FAILURES,
    RETRIES,
    GPU_MEMORY,
    CLEANED_UP,
    DELIVERIES,
)


# prometheus_client maps its files into memory: on a disk that fills up, writing to a part that is not there yet ends
# the process with SIGBUS. So all the room that is needed, and more, is taken at the beginning.
RESERVED = {
    "counter": 2**18,
    "gauge_max": 2**16,
    "gauge_livesum": 2**16,
    "histogram": 2**20,
}  # bytes, by kind of metric


def begin_counting() -> None:
    """Take up files of this process's own, for one that was forked. Raises OSError where there can be none.

    Otherwise the first to count takes them up, in the middle of a request; and should it fail, prometheus_client leaves
    the other metrics with the closed files of the parent.
    """
    if (folder := shared_metrics()) and hasattr(os, "posix_fallocate"):  # macOS has none
        try:
            _reserve(folder)
        except OSError as error:
            log.warning("no room for shared metrics: those of this process are missing in them", error=str(error))
            _reserve(share_no_metrics())
    FAILED_WAKEUPS.inc(0)


def _reserve(folder: str) -> None:
    for kind, size in RESERVED.items():
        with Path(folder, f"{kind}_{os.getpid()}.db").open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, size)


def stop_counting(pid: int) -> None:
    """Forget what a process that has ended told of itself alone, such as how many listen to it."""
    if folder := shared_metrics():
        mark_process_dead(pid, folder)


def counted() -> bytes:
    """What has been counted so far, as Prometheus reads it: by all processes that share their figures, or by this."""
    folder = shared_metrics()
    if folder is None:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)
    return generate_latest(registry)

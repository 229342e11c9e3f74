"""Whether the service lives, whether it can serve, and its figures for Prometheus."""

from typing import Any

from apiflask import APIBlueprint
from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from api.errors import answers
from api.schemas.fields import answer_of
from api.schemas.health import ReadyOut, WorkerOut
from umbel.base import metrics as counters
from umbel.base.database import transaction
from umbel.base.errors import NotReady
from umbel.base.settings import settings
from umbel.jobs import workers
from umbel.jobs.wakeup import waker
from umbel.models import versions
from umbel.operations.statistics import FIGURES, count

bp = APIBlueprint("health", __name__, tag="Health")

NOT_READY: Any = {
    503: {
        "description": "Not ready: `checks` says what is missing",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ReadyOut"}}},
    }
}
REASONS = {
    "database": "The database cannot be reached.",
    "redis": "Redis does not answer.",
    "model": "No model version is active.",
    "worker": "No worker is alive.",
    "progress": "Work waits, and no worker has finished any for a while.",
}
DATABASE_UP = ("umbel_database_up", "Whether the figures of the ledger could be read.")
# A worker speaks every five seconds; one that missed three is not there.
WORKER_SILENCE_SECONDS = 16.0


@bp.get("/healthz")
@bp.doc(responses={200: "Alive"})
def alive() -> Any:
    """Alive: this process answers."""
    return {"alive": True}


@bp.get("/readyz")
@bp.output(ReadyOut, description="Ready")
@bp.doc(responses=NOT_READY)
def ready() -> Any:
    """Ready: database, Redis, an active model and a live worker are all there, and workers get something done.

    `progress` is false when work waits and no worker has finished any for UMBEL_STALLED_AFTER seconds. Paused jobs and
    indexes that are being built are no work that waits.
    """
    checks, alive_workers = {"database": False, "redis": waker().ping(), "model": False, "worker": False}, []
    stalled = False
    try:
        with transaction() as session:
            checks["database"] = True
            checks["model"] = versions.find_active_version(session) is not None
            alive_workers = workers.list_workers(session, seen_within_seconds=WORKER_SILENCE_SECONDS)
            idle = min((worker.idle_seconds for worker in alive_workers), default=0)
            stalled = idle > settings().stalled_after and workers.work_is_left(session)
    except NotReady:
        pass
    checks |= {"worker": bool(alive_workers), "progress": not stalled}
    body = ReadyOut(
        ready=all(checks.values()),
        checks=checks,
        reasons=[REASONS[name] for name, there in checks.items() if not there],
        workers=[
            answer_of(WorkerOut, worker, queues=worker.queues.split(","), idle_seconds=round(worker.idle_seconds, 1))
            for worker in alive_workers
        ],
    )
    return (body, 200) if body.ready else (body, 503, {"Retry-After": "2"})


@bp.get("/metrics")
@bp.doc(responses=answers("Prometheus text", "text/plain"))
def metrics() -> Response:
    """The figures of the ledger, read from the database at each scrape, and those of this API's processes."""
    return Response(_exposition(), content_type=CONTENT_TYPE_LATEST)


def _exposition() -> bytes:
    """The ledger's figures, if the database answers, and what this API has counted."""
    registry = CollectorRegistry()
    up = Gauge(*DATABASE_UP, registry=registry)
    try:
        with transaction() as session:
            counted = [(figure, count(session, figure)) for figure in FIGURES]
    except NotReady:
        return generate_latest(registry) + counters.counted()
    up.set(1)
    for figure, values in counted:
        gauge = Gauge(figure.name, figure.help, [figure.label], registry=registry)
        for value, number in values.items():
            gauge.labels(value).set(number)
    return generate_latest(registry) + counters.counted()

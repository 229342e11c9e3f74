"""/healthz, /readyz and /metrics: liveness, readiness, and figures for Prometheus."""

from datetime import datetime
from typing import Any

from apiflask import APIBlueprint
from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import BaseModel, Field

from api.errors import also, answers
from api.fields import answer_of
from umbel.base import metrics as counters
from umbel.base.database import transaction
from umbel.base.errors import NotReady
from umbel.base.settings import settings
from umbel.jobs import workers
from umbel.jobs.wakeup import waker
from umbel.models import versions
from umbel.models.calibration import domain_of
from umbel.operations.statistics import FIGURES, count

bp = APIBlueprint("health", __name__, tag="Health")

REASONS = {
    "database": "The database cannot be reached.",
    "redis": "Redis does not answer.",
    "model": "No model version is active.",
    "worker": "No worker is alive.",
    "progress": "Work waits, and no worker has finished any for a while.",
}
DATABASE_UP = ("umbel_database_up", "Whether the figures of the ledger could be read.")
# A worker sends a heartbeat every five seconds; one that missed three counts as dead.
WORKER_SILENCE_SECONDS = 16.0


class WorkerOut(BaseModel):
    name: str
    queues: list[str] = Field(description="What it works on.", examples=[["single", "bulk"]])
    device: str = Field(examples=["cpu"])
    started_at: datetime
    broker_connected: bool
    idle_seconds: float  # since it finished something, or had nothing to do


class ActiveModelOut(BaseModel):
    """The model that searches use. domain: what it is for, by its card; null: not said."""

    name: str = Field(examples=["umbel-b0"])
    domain: str | None = Field(examples=["flowers"])


class ReadyOut(BaseModel):
    ready: bool = Field(examples=[True])
    checks: dict[str, bool] = Field(examples=[{"database": True, "redis": True, "model": True, "worker": True}])
    reasons: list[str]  # what is missing, for people
    model: ActiveModelOut | None
    workers: list[WorkerOut]


@bp.get("/healthz")
@bp.doc(responses={200: "Alive"})
def alive() -> Any:
    """Alive: this process answers."""
    return {"alive": True}


@bp.get("/readyz")
@bp.output(ReadyOut, description="Ready")
@bp.doc(responses=also(503, "Not ready: `checks` says what is missing", "ReadyOut"))
def ready() -> Any:
    """Ready: database, Redis, an active model and a live worker are there, and workers make progress.

    `progress` is false when work waits and no worker has finished any for UMBEL_STALLED_AFTER seconds. Paused jobs and
    indexes being built do not count as waiting work.
    """
    checks, alive_workers = {"database": False, "redis": waker().ping(), "model": False, "worker": False}, []
    stalled, active = False, None
    try:
        with transaction() as session:
            checks["database"] = True
            active = versions.find_active_version(session)
            checks["model"] = active is not None
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
        model=active and ActiveModelOut(name=active.name, domain=domain_of(active)),
        workers=[
            answer_of(WorkerOut, worker, queues=worker.queues.split(","), idle_seconds=round(worker.idle_seconds, 1))
            for worker in alive_workers
        ],
    )
    return (body, 200) if body.ready else (body, 503, {"Retry-After": "2"})


@bp.get("/metrics")
@bp.doc(responses=answers("Prometheus text", "text/plain"))
def metrics() -> Response:
    """Figures of the ledger, read from the database at each scrape, and of this API's processes."""
    return Response(_exposition(), content_type=CONTENT_TYPE_LATEST)


def _exposition() -> bytes:
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

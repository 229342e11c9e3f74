"""Workers that can do no more, and end so that others can: real processes, a Redis that stands still."""

from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from redis import Redis as RedisClient
from sqlalchemy import text

from stack.process import processes_in
from stack.redis import Redis
from tests.images import image_bytes
from tests.integration.uploads import post_image
from tests.integration.workers import start_worker
from tests.processes import Process, eventually, frozen
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.tables import JobItem
from umbel.jobs import items
from umbel.operations import job_actions
from worker.watchdog import Exit

BROKEN = str(Path(__file__).parents[1] / "giving_up")
WORKER = "embed@giving-up"


pytestmark = pytest.mark.usefixtures("database")


def upload(api: FlaskClient, seed: int) -> str:
    return str(post_image(api, image_bytes(seed)).get_json()["job_id"])


def left_waiting(api: FlaskClient, seed: int) -> str:
    """The job of an upload, unless a worker that was still at work has taken it."""
    job_id = upload(api, seed)
    return "" if api.get(f"/v1/jobs/{job_id}").get_json()["finished_at"] else job_id


def finished(api: FlaskClient, job_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any]:
        job = api.get(f"/v1/jobs/{job_id}?wait=30").get_json()
        return job if job["finished_at"] else {}

    return eventually(look, within=90)


def item_of(job_id: str) -> JobItem:
    with transaction() as session:
        [item] = items.list_items(session, job_id, state=None, after=None, limit=2)  # type: ignore[arg-type]
        return item


def embedded_by_another(api: FlaskClient, job_id: str, log: Path) -> None:
    worker = start_worker(WORKER, log)
    try:
        assert finished(api, job_id)["status"] == "succeeded"
    finally:
        worker.stop()


@pytest.mark.slow
def test_a_lost_gpu_ends_the_worker_and_costs_no_picture_an_attempt(api: FlaskClient, tmp_path: Path) -> None:
    says = "CUDA error: device-side assert triggered"
    worker = start_worker(WORKER, tmp_path / "lost.log", PYTHONPATH=BROKEN, BROKEN_FORWARD=says)
    job_id = upload(api, 1)
    assert ended(worker) == Exit.DEVICE_LOST
    assert "worker gives up" in (tmp_path / "lost.log").read_text()
    assert (item_of(job_id).state, item_of(job_id).attempts) == ("pending", 0)
    embedded_by_another(api, job_id, tmp_path / "next.log")


@pytest.mark.slow
def test_a_model_that_fails_on_everything_spends_no_attempt(api: FlaskClient, tmp_path: Path) -> None:
    worker = start_worker(WORKER, tmp_path / "fails.log", PYTHONPATH=BROKEN, BROKEN_FORWARD="weights are gone")
    job_id = upload(api, 2)
    assert ended(worker) == Exit.MODEL_FAILS
    assert (item_of(job_id).state, item_of(job_id).attempts) == ("pending", 0)
    embedded_by_another(api, job_id, tmp_path / "next.log")


@pytest.mark.slow
def test_a_forward_that_hangs_ends_the_worker_though_an_import_goes_on(api: FlaskClient, tmp_path: Path) -> None:
    hang = tmp_path / "hang"
    hang.touch()
    worker = start_worker(
        WORKER, tmp_path / "hangs.log", PYTHONPATH=BROKEN, HANGING_FORWARD=str(hang), UMBEL_HANG_SECONDS="8"
    )
    source = {"type": "sample", "species": 12, "per_species": 50}
    job_id = api.post("/v1/imports", json={"source": source}).get_json()["job_id"]
    eventually(lambda: not hang.exists(), within=90)  # it hangs
    fetched = read_so_far(job_id)
    assert ended(worker) == Exit.HANGS
    assert "embedding has got no further" in (tmp_path / "hangs.log").read_text()
    assert read_so_far(job_id) > fetched
    worker = start_worker(WORKER, tmp_path / "next.log")
    try:
        assert eventually(lambda: finished(api, job_id), within=300)["counts"]["indexed"] == 600
    finally:
        worker.stop()


def read_so_far(job_id: str) -> int:
    """Images that an import has read from its source."""
    statement = text("SELECT count(image_id) FROM job_item WHERE job_id = :id")
    with transaction() as session:
        return session.scalar(statement, {"id": job_id}) or 0


@pytest.mark.slow
def test_a_worker_that_hears_nothing_while_work_waits_ends(
    api: FlaskClient, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.health.settings", lambda: settings().model_copy(update={"stalled_after": 6}))
    worker = start_worker(WORKER, tmp_path / "deaf.log", UMBEL_BROKER_TIMEOUT="14")
    assert api.get("/readyz").get_json()["ready"]
    seeds = count(3)
    with frozen(processes_in(redis.data, "redis-server")):
        job_id = eventually(lambda: left_waiting(api, next(seeds)))
        eventually(lambda: not api.get("/readyz").get_json()["workers"][0]["broker_connected"])
        eventually(lambda: not api.get("/readyz").get_json()["checks"]["progress"])
        assert ended(worker) == Exit.BROKER_TIMEOUT
    embedded_by_another(api, job_id, tmp_path / "next.log")


@pytest.mark.slow
def test_a_worker_ends_when_redis_refuses_its_commands_though_an_import_goes_on(
    api: FlaskClient, redis: Redis, tmp_path: Path
) -> None:
    worker = start_worker(WORKER, tmp_path / "refused.log")
    source = {"type": "sample", "species": 40, "per_species": 200}
    job_id = api.post("/v1/imports", json={"source": source}).get_json()["job_id"]
    eventually(lambda: read_so_far(job_id), within=90)
    client = RedisClient(unix_socket_path=str(redis.socket))
    client.config_set("min-replicas-to-write", 1)  # there is none: every write is an error, as on a full disk
    try:
        assert ended(worker) == Exit.CELERY_FAILED
        assert "Unrecoverable error" in (tmp_path / "refused.log").read_text()
        assert not api.get(f"/v1/jobs/{job_id}").get_json()["finished_at"]
    finally:
        client.config_set("min-replicas-to-write", 0)
        job_actions.cancel_job(transaction, UUID(job_id))


@pytest.mark.slow
def test_an_idle_worker_that_hears_nothing_stays(api: FlaskClient, redis: Redis, tmp_path: Path) -> None:
    worker = start_worker(WORKER, tmp_path / "idle.log", UMBEL_BROKER_TIMEOUT="0.1")
    with frozen(processes_in(redis.data, "redis-server")):
        eventually(lambda: not api.get("/readyz").get_json()["workers"][0]["broker_connected"])
    eventually(lambda: api.get("/readyz").get_json()["workers"][0]["broker_connected"])  # two looks, and it lives
    assert finished(api, upload(api, 4))["status"] == "succeeded"
    assert worker.stop() == 0


def ended(worker: Process) -> int:
    """The exit status of a worker that ends by itself."""
    eventually(lambda: not worker.running(), within=60)
    return worker.stop()

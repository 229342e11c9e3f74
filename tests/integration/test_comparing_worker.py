"""A real worker process in the middle of a comparison: killed, cancelled, paused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from stack.postgres import Postgres
from tests.integration.scene import add, brighter, near, photograph
from tests.integration.workers import start_worker
from tests.processes import Process, eventually
from umbel.base.database import transaction
from umbel.base.settings import settings
from worker.models import ensure_active_version

WORKER = "compare@test"
COPIES = 600  # pictures that are looked at, so that a comparison takes a while


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_gallery")]


@pytest.fixture(scope="module")
def gallery(postgres: Postgres) -> None:
    """COPIES pictures, five of each, as near to one another as a model would put them."""
    version = ensure_active_version(settings())
    for number in range(COPIES):
        kind, copy = divmod(number, 5)
        direction = np.eye(version.dim, dtype=np.float32)[kind]
        add(version, near(direction, (1 + copy) / 200, number), brighter(photograph(kind), 1 + copy / 20))


@pytest.fixture
def worker(gallery: None, tmp_path: Path) -> Iterator[Process]:
    """A worker, and nothing compared yet."""
    with transaction() as session:
        session.execute(text("DELETE FROM nearest_neighbors"))
        session.execute(text("DELETE FROM image_signature"))
    process = start_worker(WORKER, tmp_path / "worker.log")
    yield process
    if process.running():
        assert process.stop() == 0


def finished(api: FlaskClient, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = {"finished_at": None}
    for _ in range(4):
        job = job if job["finished_at"] else api.get(f"/v1/jobs/{job_id}?wait=30").get_json()
    assert job["finished_at"], job
    return job


def counts(api: FlaskClient, job_id: str) -> dict[str, int]:
    return dict(api.get(f"/v1/jobs/{job_id}").get_json()["counts"])


def begun(api: FlaskClient) -> str:
    """The id of a comparison that has compared something and has something left."""
    job_id = api.post("/v1/duplicates", json={}).get_json()["job_id"]
    eventually(lambda: counts(api, job_id)["indexed"], every=0.01)
    return str(job_id)


def stored() -> int:
    with transaction() as session:
        return session.scalar(text("SELECT count(*) FROM nearest_neighbors")) or 0


def claimed() -> int:
    with transaction() as session:
        return session.scalar(text("SELECT count(*) FROM job_item WHERE lease_owner IS NOT NULL")) or 0


def test_kill_9_in_the_middle_of_a_comparison_loses_nothing(api: FlaskClient, worker: Process, tmp_path: Path) -> None:
    job_id = begun(api)
    worker.kill()
    with transaction() as session:  # in one statement: the server may still be storing the last of the killed one
        progress = "SELECT pending, indexed, (SELECT count(*) FROM nearest_neighbors) FROM job WHERE id = :id"
        pending, indexed, neighbors = session.execute(text(progress), {"id": job_id}).one()
    assert (pending > 0, indexed) == (True, neighbors)
    second = start_worker(WORKER, tmp_path / "second.log")
    try:
        job = finished(api, job_id)
    finally:
        second.stop()
    assert (job["status"], job["counts"]["indexed"], stored()) == ("succeeded", COPIES, COPIES)
    assert sum(group["size"] for group in api.get("/v1/duplicates?limit=500").get_json()["items"]) == COPIES


def test_a_cancelled_comparison_keeps_what_it_has_and_no_image_is_touched(api: FlaskClient, worker: Process) -> None:
    job_id = begun(api)
    job = api.post(f"/v1/jobs/{job_id}/cancel").get_json()
    assert (job["status"], job["counts"]["pending"], job["counts"]["cancelled"] > 0) == ("cancelled", 0, True)
    assert stored() == job["counts"]["indexed"]
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM embedding")) == COPIES
    answer = api.get("/v1/duplicates").get_json()
    assert (answer["compared"], answer["waiting"]) == (stored(), COPIES - stored())


def test_a_paused_comparison_goes_on_where_it_stood(api: FlaskClient, worker: Process) -> None:
    job_id = begun(api)
    api.post(f"/v1/jobs/{job_id}/pause")
    eventually(lambda: not claimed())  # the batch in hand is finished
    stood = counts(api, job_id)
    assert stood["pending"] > 0, "the worker was faster than its master"
    api.post(f"/v1/jobs/{job_id}/resume")
    job = finished(api, job_id)
    assert (job["status"], job["counts"]["indexed"], stored()) == ("succeeded", COPIES, COPIES)

"""What operators see of a picture on its way: log lines of the real API and a real worker."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy import text

from db.session import engine
from stack.redis import Redis
from tests.e2e.conftest import free_port
from tests.integration.workers import start_worker
from tests.pictures import picture
from tests.processes import Process, eventually
from tests.unit.services.sources.archives import zipped

CUT = picture(2, size=(400, 300), kind="PNG")[:9000]  # its header is whole, the rest is not


class Processes(NamedTuple):
    """An API and a worker that log for machines."""

    http: httpx.Client
    api_log: Path
    worker_log: Path

    def upload(self, data: bytes, request_id: str) -> dict[str, Any]:
        answer = self.http.post("/v1/images", files={"file": ("a.jpg", io.BytesIO(data))}, headers=asked_as(request_id))
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def finished(self, job_id: str) -> dict[str, Any]:
        return eventually(lambda: _finished(self.http.get(f"/v1/jobs/{job_id}?wait=30").json()), within=90)


def asked_as(request_id: str) -> dict[str, str]:
    return {"X-Request-ID": request_id}


def _finished(job: dict[str, Any]) -> dict[str, Any]:
    return job if job["finished_at"] else {}


def lines(log: Path, **having: str) -> list[dict[str, Any]]:
    """The log's lines that have these values."""
    said = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    return [line for line in said if having.items() <= line.items()]


@pytest.fixture(scope="module")
def processes(redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    logs, port = tmp_path_factory.mktemp("logs"), free_port()
    environment = {"UMBEL_LOG_JSON": "1", "UMBEL_PORT": str(port)}
    worker = start_worker("embed@observed", logs / "worker.log", **environment)
    api = Process("api", log=logs / "api.log", UMBEL_LOG_LEVEL="INFO", **environment)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        try:
            eventually(lambda: _answers(http))
            yield Processes(http, logs / "api.log", logs / "worker.log")
        finally:
            api.stop()
            worker.stop()
            _empty()


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def _empty() -> None:
    with engine().begin() as connection:
        connection.execute(text("TRUNCATE worker, query_picture, job_item, job, image, collection CASCADE"))
        for partition in connection.scalars(
            text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'embedding'::regclass")
        ).all():
            connection.execute(text(f"DROP TABLE {partition}"))
        connection.execute(text("TRUNCATE model_version CASCADE"))


def test_one_request_id_leads_from_the_upload_to_the_stored_vector(processes: Processes) -> None:
    accepted = processes.upload(picture(1), "upload-1")
    processes.finished(accepted["job_id"])
    names = {"request_id": "upload-1", "job_id": accepted["job_id"], "image_id": accepted["image_id"]}
    [asked] = lines(processes.api_log, **names)
    [embedded] = lines(processes.worker_log, **names)
    assert (asked["event"], asked["status"]) == ("request", 202)
    assert (embedded["event"], embedded["lane"], embedded["pictures"]) == ("embedded", "single", 1)


def test_an_item_that_fails_leaves_a_line_with_its_code(processes: Processes) -> None:
    accepted = processes.upload(CUT, "upload-2")
    processes.finished(accepted["job_id"])
    [failed] = lines(processes.worker_log, request_id="upload-2", image_id=accepted["image_id"])
    assert (failed["event"], failed["level"], failed["code"]) == ("item failed", "warning", "corrupt_picture")


def test_of_an_import_there_is_a_line_a_batch(processes: Processes) -> None:
    archive = zipped(("a.png", picture(10)), ("b.png", picture(11)), ("c.png", b"no picture"))
    answer = processes.http.post("/v1/imports", files={"file": ("some.zip", archive)}, headers=asked_as("import-1"))
    job_id = answer.json()["job_id"]
    processes.finished(job_id)
    said = lines(processes.worker_log, request_id="import-1", job_id=job_id)
    told = [(line["event"], line.get("pictures"), line.get("code")) for line in said]
    assert ("source listed", None, None) in told
    assert ("item failed", 1, "unsupported_picture") in told
    for event in ("fetched", "embedded"):
        assert sum(pictures or 0 for each, pictures, _ in told if each == event) == 2


def test_a_refusal_is_logged_with_its_code(processes: Processes) -> None:
    processes.http.post("/v1/images", files={"file": ("a.jpg", b"no picture")}, headers=asked_as("refused-1"))
    [refused] = lines(processes.api_log, request_id="refused-1")
    assert (refused["status"], refused["code"]) == (415, "unsupported_picture")

"""What operators see of a picture on its way: log lines of the real API and a real worker."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stack.redis import Redis
from tests.collector import Collector, Span, collector
from tests.field.archives import zipped
from tests.images import image_bytes
from tests.integration.workers import start_worker
from tests.processes import Process, eventually, free_port

# The API takes them, and the worker, whose limit is another, does not.
SMALL, SMALL_TOO = (image_bytes(seed, size=(20, 20)) for seed in (2, 3))


class Processes(NamedTuple):
    """An API of two processes and a worker, which log for machines and are scraped."""

    http: httpx.Client
    api_log: Path
    worker_log: Path
    worker_metrics: str
    collector: Collector

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
    """The log's lines that have these values; there is one at least, since processes tell what they have done."""
    return eventually(lambda: _lines(log, **having))


def _lines(log: Path, **having: str) -> list[dict[str, Any]]:
    said = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    return [line for line in said if having.items() <= line.items()]


@pytest.fixture(scope="module")
def processes(redis: Redis, tmp_path_factory: pytest.TempPathFactory, shared_gallery: None) -> Iterator[Processes]:
    logs, port, metrics = tmp_path_factory.mktemp("logs"), free_port(), free_port()
    with collector() as traces:
        yield from _running(logs, port, metrics, traces)


def _running(logs: Path, port: int, metrics: int, traces: Collector) -> Iterator[Processes]:
    environment = {
        "UMBEL_LOG_JSON": "1",
        "UMBEL_PORT": str(port),
        "UMBEL_METRICS_PORT": str(metrics),
        "UMBEL_TRACE_ENDPOINT": traces.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    worker = start_worker("embed@observed", logs / "worker.log", UMBEL_MIN_SIDE="30", **environment)
    api = Process("api", log=logs / "api.log", UMBEL_LOG_LEVEL="INFO", **environment)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        try:
            eventually(lambda: _answers(http))
            yield Processes(http, logs / "api.log", logs / "worker.log", f"http://127.0.0.1:{metrics}/metrics", traces)
        finally:
            api.stop()
            worker.stop()


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_one_request_id_leads_from_the_upload_to_the_stored_vector(processes: Processes) -> None:
    accepted = processes.upload(image_bytes(1), "upload-1")
    processes.finished(accepted["job_id"])
    names = {"request_id": "upload-1", "job_id": accepted["job_id"], "image_id": accepted["image_id"]}
    [asked] = lines(processes.api_log, **names)
    [embedded] = lines(processes.worker_log, **names)
    assert (asked["event"], asked["status"]) == ("request", 202)
    assert (embedded["event"], embedded["queue"], embedded["images"]) == ("embedded", "single", 1)


def test_an_item_that_fails_leaves_a_line_with_its_code(processes: Processes) -> None:
    accepted = processes.upload(SMALL, "upload-2")
    processes.finished(accepted["job_id"])
    [failed] = lines(processes.worker_log, request_id="upload-2", image_id=accepted["image_id"])
    assert (failed["event"], failed["level"], failed["code"]) == ("item failed", "warning", "image_too_small")


def test_of_an_import_there_is_a_line_a_batch(processes: Processes) -> None:
    archive = zipped(("a.png", image_bytes(10)), ("b.png", image_bytes(11)), ("c.png", b"no picture"))
    answer = processes.http.post("/v1/imports", files={"file": ("some.zip", archive)}, headers=asked_as("import-1"))
    job_id = answer.json()["job_id"]
    processes.finished(job_id)
    names = {"request_id": "import-1", "job_id": job_id}
    eventually(lambda: sum(line["images"] for line in _lines(processes.worker_log, event="embedded", **names)) == 2)
    [listed] = lines(processes.worker_log, event="source listed", **names)
    [fetched] = lines(processes.worker_log, event="fetched", **names)
    [failed] = lines(processes.worker_log, event="item failed", **names)
    assert (listed["listed"], fetched["images"], failed["code"]) == (3, 2, "unsupported_image")


def test_a_refusal_is_logged_with_its_code(processes: Processes) -> None:
    processes.http.post("/v1/images", files={"file": ("a.jpg", b"no picture")}, headers=asked_as("refused-1"))
    [rejected] = lines(processes.api_log, request_id="refused-1")
    assert (rejected["status"], rejected["code"]) == (415, "unsupported_image")


def scraped(text: str) -> dict[tuple[str, ...], float]:
    """{(name, label value, …): value}, in the order of the labels' names."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_worker_counts_and_times_every_stage(processes: Processes) -> None:
    before = scraped(httpx.get(processes.worker_metrics).text)

    def gain() -> dict[tuple[str, ...], float]:
        """As soon as the last of what is counted is there."""
        after = scraped(httpx.get(processes.worker_metrics).text)
        gained = {name: value - before.get(name, 0) for name, value in after.items()}
        return gained if gained.get(("umbel_item_failures_total", "image_too_small", "single")) else {}

    for data in (image_bytes(20), SMALL_TOO):
        processes.finished(processes.upload(data, "counted")["job_id"])
    gained = eventually(gain)
    assert gained["umbel_items_finished_total", "embedded", "single"] == 1
    assert gained["umbel_item_wait_seconds_count", "single"] == 2
    assert gained["umbel_batch_images_sum", "single"] == 2
    assert gained["umbel_image_decode_seconds_count",] == 1
    for stage in ("claim", "decode", "store"):
        assert gained["umbel_stage_seconds_count", "single", stage] == 2, stage
    assert 0 < gained["umbel_stage_seconds_sum", "single", "forward"] < 60


def test_the_processes_of_an_api_say_the_same(processes: Processes) -> None:
    for _ in range(12):  # each on a connection of its own, so that either process gets some
        httpx.post(f"{processes.http.base_url}/v1/images:check", json={"sha256": ["0" * 64]})
    name = ("umbel_request_seconds_count", "POST", "/v1/images:check", "200")
    seen = {scraped(httpx.get(f"{processes.http.base_url}/metrics").text)[name] for _ in range(6)}
    assert seen == {12.0}


def test_searches_are_timed_by_how_they_were_found(processes: Processes) -> None:
    processes.finished(processes.upload(image_bytes(21), "searched")["job_id"])
    processes.http.post("/v1/search", files={"file": ("q.jpg", image_bytes(21))}).raise_for_status()
    seen = scraped(processes.http.get("/metrics").text)
    assert seen["umbel_search_seconds_count", "exact"] >= 1
    assert seen["umbel_query_vector_seconds_count",] >= 1
    assert seen["umbel_items_pending", "single"] == 0


def test_one_trace_leads_from_the_upload_to_the_stored_vector(processes: Processes) -> None:
    caller = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    accepted = processes.http.post(
        "/v1/images", files={"file": ("a.jpg", image_bytes(30))}, headers=asked_as("traced") | {"traceparent": caller}
    ).json()
    processes.finished(accepted["job_id"])

    asked, last = "request POST /v1/images", "store"  # of the API and of the worker, each of which sends when it likes

    def trace() -> dict[str, Span]:
        spans = {span.name: span for span in processes.collector.spans if span.trace_id == "ab" * 16}
        return spans if spans.keys() >= {asked, last} else {}

    spans = eventually(trace)
    request = spans.pop(asked)
    assert (request.service, request.parent_id, request.attributes["request_id"]) == ("umbel-api", "cd" * 8, "traced")
    assert set(spans) == {"claim", "read", "decode", "forward", "store"}
    assert {(span.service, span.parent_id) for span in spans.values()} == {("umbel-worker", request.span_id)}
    assert spans["store"].attributes["image_id"] == accepted["image_id"]


def test_a_caller_that_does_not_sample_is_not_traced(processes: Processes) -> None:
    caller = "00-" + "ef" * 16 + "-" + "cd" * 8 + "-00"
    answer = processes.http.post(
        "/v1/images", files={"file": ("a.jpg", image_bytes(31))}, headers={"traceparent": caller}
    )
    processes.finished(answer.json()["job_id"])
    processes.finished(processes.upload(image_bytes(32), "after")["job_id"])
    eventually(lambda: [span for span in processes.collector.spans if span.attributes.get("request_id") == "after"])
    assert not [span for span in processes.collector.spans if span.trace_id == "ef" * 16]

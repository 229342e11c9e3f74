"""A real worker process with the shipped model, wake-ups through a real Redis."""

import base64
import io
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import text

from stack.redis import Redis
from tests.images import image_bytes
from tests.integration.uploads import post_image
from tests.integration.workers import start_worker
from tests.processes import Process, eventually
from tests.traps import CRASHING, TRAPS, archive_of_traps
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.types import Queue
from umbel.gallery.blob_cleanups import blob_key
from umbel.jobs.wakeup import TASK, waker
from umbel.operations import maintenance

WORKER = "embed@test"
CRASHES = {"PYTHONPATH": str(CRASHING)}  # one of the traps crashes its decoder


@pytest.fixture(scope="module")
def worker(redis: Redis, shared_gallery: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = start_worker(WORKER, tmp_path_factory.mktemp("worker") / "worker.log", **CRASHES)
    yield process
    if process.running():
        assert process.stop() == 0


pytestmark = pytest.mark.usefixtures("worker")  # one embeds the gallery of all these tests


def upload(api: FlaskClient, data: bytes, **form: object) -> dict[str, Any]:
    answer = post_image(api, data, **form)
    assert answer.status_code in (200, 202), answer.text
    return dict(answer.get_json())


def finished(api: FlaskClient, job_id: str) -> dict[str, Any]:
    """The job after it has finished, by long polls: more than one on a machine that is busy with other things."""
    return eventually(lambda: _finished(api.get(f"/v1/jobs/{job_id}?wait=30").get_json()), within=90)


def _finished(job: dict[str, Any]) -> dict[str, Any]:
    return job if job["finished_at"] else {}


def test_upload_poll_search(api: FlaskClient) -> None:
    accepted = upload(api, image_bytes(100), label="blotch", collection="spine")
    job = finished(api, accepted["job_id"])
    assert (job["status"], job["counts"]["indexed"], job["model_version"] is not None) == ("succeeded", 1, True)
    found = api.post(
        "/v1/search", data={"file": (io.BytesIO(image_bytes(100)), "q.jpg"), "k": "3", "collection": "spine"}
    ).get_json()
    assert [match["image_id"] for match in found["matches"]] == [accepted["image_id"]]
    assert found["matches"][0]["similarity"] == pytest.approx(1, abs=5e-3)
    assert found["model_version"] == job["model_version"]


def test_base64_and_multipart_find_the_same(api: FlaskClient) -> None:
    finished(api, upload(api, image_bytes(101))["job_id"])
    by_file = api.post("/v1/search", data={"file": (io.BytesIO(image_bytes(101)), "q.jpg")}).get_json()
    by_text = api.post("/v1/search", json={"image": base64.b64encode(image_bytes(101)).decode()}).get_json()
    assert [m["image_id"] for m in by_text["matches"]] == [m["image_id"] for m in by_file["matches"]]


def test_a_part_finds_what_it_shows_uploaded_or_stored(api: FlaskClient) -> None:
    shown = [Image.open(io.BytesIO(image_bytes(seed, size=(96, 96), kind="PNG"))) for seed in (150, 151)]
    beside, out = Image.new("RGB", (192, 96)), io.BytesIO()
    for at, one in enumerate(shown):
        beside.paste(one, (96 * at, 0))
    beside.save(out, "PNG")
    accepted = [
        upload(api, data, collection="parts")
        for data in (out.getvalue(), *(image_bytes(seed, size=(96, 96), kind="PNG") for seed in (150, 151)))
    ]
    for one in accepted:
        finished(api, one["job_id"])
    both = accepted[0]["image_id"]
    right = {"box": [0.5, 0, 0.5, 1], "k": 1, "collection": "parts"}
    by_id = api.post("/v1/search", json={"image_id": both, **right}).get_json()
    by_file = api.post("/v1/search", json={"image": base64.b64encode(out.getvalue()).decode(), **right}).get_json()
    for found in (by_id, by_file):
        assert found["matches"][0]["image_id"] == accepted[2]["image_id"]
        assert found["matches"][0]["similarity"] == pytest.approx(1, abs=5e-3)
    small = api.post("/v1/search", json={"image_id": both, "box": [0.5, 0, 0.05, 1]})
    assert (small.status_code, small.get_json()["code"]) == (422, "image_too_small")
    assert "10 × 96" in small.get_json()["detail"]


def test_a_detail_finds_its_picture_by_a_tile(api: FlaskClient) -> None:
    """Of four pictures in one, among these pictures themselves but for the one that is searched by."""
    seeds = (160, 161, 162, 163)
    shown = [Image.open(io.BytesIO(image_bytes(seed, size=(96, 96), kind="PNG"))) for seed in seeds]
    scene, out = Image.new("RGB", (192, 192)), io.BytesIO()
    for at, one in enumerate(shown):
        scene.paste(one, (96 * (at % 2), 96 * (at // 2)))
    scene.save(out, "PNG")
    assert api.post("/v1/collections", json={"name": "tiled", "tiles": 9}).get_json()["tiles"] == 9
    accepted = [
        upload(api, data, collection="tiled")
        for data in (out.getvalue(), *(image_bytes(seed, size=(96, 96), kind="PNG") for seed in seeds[1:]))
    ]
    for one in accepted:
        finished(api, one["job_id"])
    detail = {"image": base64.b64encode(image_bytes(160, size=(96, 96), kind="PNG")).decode(), "collection": "tiled"}
    [first, *others] = api.post("/v1/search", json=detail).get_json()["matches"]
    assert (first["image_id"], first["box"]) == (accepted[0]["image_id"], [0, 0, 0.5, 0.5])
    assert first["similarity"] == pytest.approx(1, abs=5e-3)
    assert len(others) == 3


def test_the_predecessors_request_is_answered_in_its_shape(api: FlaskClient) -> None:
    for n in range(110, 116):
        finished(api, upload(api, image_bytes(n))["job_id"])
    answer = api.post("/search", json={"image": base64.b64encode(image_bytes(112)).decode()})
    results = answer.get_json()["results"]
    assert [set(result) for result in results] == [{"path", "simularity"}] * 5
    assert results[0]["simularity"] == pytest.approx(1, abs=5e-3)
    assert [r["simularity"] for r in results] == sorted((r["simularity"] for r in results), reverse=True)
    assert api.get(results[0]["path"]).content_type == "image/jpeg"


def test_a_picture_damaged_meanwhile_fails_with_its_reason_and_its_neighbors_do_not(
    api: FlaskClient, worker: Process
) -> None:
    job_id = api.post("/v1/imports", json={"source": {"type": "upload"}}).get_json()["job_id"]
    with worker.frozen():
        upload(api, image_bytes(120), job_id=job_id, name="cut.png")
        blobs().put(blob_key("default", sha256(image_bytes(120)).digest()), image_bytes(120)[:200])
        for n in range(121, 125):
            upload(api, image_bytes(n), job_id=job_id)
    api.post(f"/v1/jobs/{job_id}/close")
    job = finished(api, job_id)
    assert (job["status"], job["counts"]["indexed"], job["counts"]["failed"]) == ("partial", 4, 1)
    (item,) = api.get(f"/v1/jobs/{job_id}/items?status=failed").get_json()["items"]
    assert (item["name"], item["error_code"]) == ("cut.png", "corrupt_image")


def test_a_damaged_query_is_refused_with_its_reason(api: FlaskClient) -> None:
    whole = image_bytes(130, size=(400, 300), kind="WEBP")
    answer = api.post("/v1/search", data={"file": (io.BytesIO(whole[: len(whole) // 2]), "q.webp")})
    assert (answer.status_code, answer.get_json()["code"]) == (415, "corrupt_image")


def test_ready_once_a_worker_lives(api: FlaskClient) -> None:
    answer = api.get("/readyz").get_json()
    assert (answer["ready"], [w["name"] for w in answer["workers"]]) == (True, [WORKER])


def test_a_lost_ring_is_made_good_by_the_sweep(api: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umbel.jobs.wakeup.Waker.wake", lambda *_: False)
    job_id = upload(api, image_bytes(140))["job_id"]
    monkeypatch.undo()
    assert Queue.SINGLE in maintenance.sweep(transaction, waker(), settings())
    assert finished(api, job_id)["status"] == "succeeded"


def test_doubled_rings_change_nothing(api: FlaskClient) -> None:
    bell = waker()
    for _ in range(20):
        bell._celery.send_task(TASK, queue=Queue.SINGLE, kwargs={"queue": Queue.SINGLE})
    job = finished(api, upload(api, image_bytes(141))["job_id"])
    assert job["counts"] == {"total": 1, "pending": 0, "indexed": 1, "duplicate": 0, "failed": 0, "cancelled": 0}


def test_queued_single_uploads_are_embedded_in_one_forward(api: FlaskClient, worker: Process) -> None:
    with worker.frozen():
        made = [upload(api, image_bytes(n))["job_id"] for n in range(150, 160)]
    for job_id in made:
        finished(api, job_id)
    with transaction() as session:
        times = session.scalars(text("SELECT DISTINCT finished_at FROM job WHERE id = ANY (:ids)"), {"ids": made}).all()
    assert len(times) == 1  # one transaction stored them all


def test_a_single_upload_is_embedded_before_an_import_that_was_there_first(api: FlaskClient, worker: Process) -> None:
    job_id = api.post("/v1/imports", json={"source": {"type": "upload"}, "collection": "later"}).get_json()["job_id"]
    with worker.frozen():
        for n in range(600, 660):
            upload(api, image_bytes(n), job_id=job_id, collection="later")
        single = upload(api, image_bytes(660), collection="later")["job_id"]
    api.post(f"/v1/jobs/{job_id}/close")
    last = finished(api, job_id)["finished_at"]
    first = finished(api, single)["finished_at"]
    with transaction() as session:
        earlier = text("SELECT count(*) FROM job_item WHERE job_id = :id AND finished_at < :first")
        overtook = session.scalars(earlier, {"id": job_id, "first": first}).one() == 0
    assert (overtook, first < last) == (True, True)


def test_an_archive_full_of_traps_costs_nothing_but_the_traps(api: FlaskClient) -> None:
    answer = api.post(
        "/v1/imports", data={"file": (io.BytesIO(archive_of_traps()), "traps.zip"), "collection": "traps"}
    )
    job = finished(api, answer.get_json()["job_id"])
    seen = api.get(f"/v1/jobs/{job['id']}/items").get_json()["items"]
    assert {item["name"]: item["error_code"] for item in seen} == TRAPS
    assert (job["status"], job["counts"]["indexed"], job["source"]["skipped"]) == ("partial", 2, 1)


def test_a_cancelled_import_ends_within_a_batch(api: FlaskClient, worker: Process) -> None:
    job_id = api.post("/v1/imports", json={"source": {"type": "upload"}, "collection": "ended"}).get_json()["job_id"]
    with worker.frozen():
        for n in range(400, 520):
            upload(api, image_bytes(n), job_id=job_id, collection="ended")
    eventually(lambda: api.get(f"/v1/jobs/{job_id}").get_json()["counts"]["indexed"], every=0.01)
    job = api.post(f"/v1/jobs/{job_id}/cancel").get_json()
    assert (job["status"], job["counts"]["pending"]) == ("cancelled", 0)
    assert job["counts"]["cancelled"] > 0, "the worker was faster than its master"


@pytest.mark.slow
def test_kill_9_in_the_middle_of_an_import_loses_nothing(api: FlaskClient, worker: Process, tmp_path: Path) -> None:
    job_id = api.post("/v1/imports", json={"source": {"type": "upload"}, "collection": "killed"}).get_json()["job_id"]
    with worker.frozen():
        for n in range(200, 320):
            upload(api, image_bytes(n), job_id=job_id, collection="killed")
    eventually(lambda: api.get(f"/v1/jobs/{job_id}").get_json()["counts"]["indexed"], every=0.01)
    worker.kill()
    api.post(f"/v1/jobs/{job_id}/close")
    before = api.get(f"/v1/jobs/{job_id}").get_json()["counts"]
    second = start_worker(WORKER, tmp_path / "second.log", **CRASHES)
    try:
        job = finished(api, job_id)
    finally:
        second.stop()
    with transaction() as session:
        vectors = session.execute(
            text(
                "SELECT count(*), count(DISTINCT image_id) FROM embedding JOIN collection ON id = collection_id"
                " WHERE name = 'killed'"
            )
        ).one()
    assert before["pending"] > 0, "the worker was faster than its killer"
    assert (job["status"], job["counts"]["indexed"], tuple(vectors)) == ("succeeded", 120, (120, 120))

"""The HTTP edge against real Postgres and Redis, with no worker: what is queued stays queued."""

import io
import json
import re
import zipfile
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, text
from werkzeug.test import TestResponse

from api.errors_page import described
from stack.postgres import Postgres
from stack.redis import Redis
from tests.images import image_bytes, opened
from tests.integration.callers import UNUSED_ID
from tests.integration.uploads import post_image as upload
from umbel.base.blobs import blobs
from umbel.base.database import engine, transaction
from umbel.base.types import Queue
from umbel.decoding.images import CUT_SHORT
from umbel.jobs.wakeup import waker

pytestmark = pytest.mark.usefixtures("database", "redis")


def assert_problem(answer: TestResponse, status: int, code: str) -> None:
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    body = answer.get_json()
    assert (body["status"], body["code"], bool(body["detail"])) == (status, code, True)
    assert f"| `{status}` | `{code}` |" in described()
    assert body["type"] == f"/errors#{code}"
    assert body["request_id"] == answer.headers["X-Request-ID"]


def test_an_upload_is_accepted_with_a_job_to_follow(api: FlaskClient) -> None:
    answer = upload(api, image_bytes(1), label="rose", metadata='{"year": 2026}')
    body = answer.get_json()
    assert (answer.status_code, body["status"]) == (202, "queued")
    assert answer.headers["Location"] == f"/v1/jobs/{body['job_id']}"
    assert answer.headers["Retry-After"] == "1"
    job = api.get(answer.headers["Location"]).get_json()
    assert (job["status"], job["counts"]["pending"], job["counts"]["total"]) == ("queued", 1, 1)


def test_a_job_says_what_came_where_and_an_image_which_job_it_came_with(api: FlaskClient) -> None:
    job_id = api.post("/v1/imports", json={"source": {"type": "upload"}, "collection": "garden"}).get_json()["job_id"]
    for number in (1, 2):
        sent = upload(api, image_bytes(number), name=f"roses/{number}.jpg", job_id=job_id, collection="garden")
    job = api.get(f"/v1/jobs/{job_id}").get_json()
    assert (job["collection"], job["first_name"]) == ("garden", "roses/1.jpg")
    image = api.get(f"/v1/images/{sent.get_json()['image_id']}").get_json()
    assert (image["job_id"], image["embedded_by"]) == (job_id, [])


def test_the_same_bytes_again_are_a_duplicate(api: FlaskClient) -> None:
    first = upload(api, image_bytes(1)).get_json()
    again = upload(api, image_bytes(1))
    assert (again.status_code, again.get_json()) == (200, {**first, "status": "duplicate"})


def test_an_idempotency_key_makes_a_repeat_look_like_the_first(api: FlaskClient) -> None:
    first = upload(api, image_bytes(1), headers={"Idempotency-Key": "abc"})
    again = upload(api, image_bytes(1), headers={"Idempotency-Key": "abc"})
    assert (again.status_code, again.get_json()) == (202, first.get_json())
    other = upload(api, image_bytes(1), headers={"Idempotency-Key": "abc"}, label="rose")
    assert_problem(other, 409, "idempotency_key_reused")


def test_a_repeated_rejection_is_one_failed_item_of_its_job(api: FlaskClient) -> None:
    job_id = api.post("/v1/imports", json={"source": {"type": "upload"}}).get_json()["job_id"]
    for _ in range(2):
        answer = upload(api, b"no picture at all", job_id=job_id, headers={"Idempotency-Key": "abc"})
        assert_problem(answer, 415, "unsupported_image")
    assert api.get(f"/v1/jobs/{job_id}").get_json()["counts"]["failed"] == 1


def test_a_repeated_import_is_the_first_one_and_another_under_its_key_a_conflict(api: FlaskClient) -> None:
    archive, bodies = io.BytesIO(), [{"source": {"type": "upload"}}, {"source": {"type": "sample", "species": 2}}]
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("a.jpg", image_bytes(1))

    def sent(key: str, **body: Any) -> TestResponse:
        if "file" in body:
            body["file"] = (io.BytesIO(body["file"]), "a.zip")
            return api.post("/v1/imports", data=body, headers={"Idempotency-Key": key})
        return api.post("/v1/imports", json=body, headers={"Idempotency-Key": key})

    for key, body in enumerate([*bodies, {"file": archive.getvalue()}]):
        first, again = sent(str(key), **body), sent(str(key), **body)
        assert (first.status_code, again.get_json()) == (202, first.get_json())
        assert_problem(sent(str(key), **body, collection="other"), 409, "idempotency_key_reused")
    assert_problem(upload(api, image_bytes(1), headers={"Idempotency-Key": "0"}), 409, "idempotency_key_reused")
    assert_problem(sent("2", file=archive.getvalue() + b"more"), 409, "idempotency_key_reused")
    assert len(api.get("/v1/jobs").get_json()["items"]) == 3
    assert len(list(blobs().list("imports/"))) == 1


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "empty_file"),
        (b"no picture at all", 415, "unsupported_image"),
        (b"\xff\xd8\xff\xe0 but then nothing", 415, "corrupt_image"),
        (b"\xff\x0a and the rest of a JPEG XL", 415, "unsupported_image"),
        (image_bytes(1, size=(400, 300), kind="WEBP")[:3000], 415, "corrupt_image"),
        (image_bytes(1, size=(15, 40)), 422, "image_too_small"),
        (b"\xff\xd8\xff" + bytes(20 * 2**20), 413, "file_too_large"),
    ],
)
def test_what_is_no_picture_is_refused(api: FlaskClient, data: bytes, status: int, code: str) -> None:
    assert_problem(upload(api, data), status, code)


def test_a_request_beyond_all_limits_is_refused_unread(api: FlaskClient) -> None:
    assert_problem(upload(api, bytes(40 * 2**20)), 413, "content_too_large")


@pytest.mark.parametrize(
    "form",
    [
        {"collection": "no spaces"},
        {"collection": "../up"},
        {"collection": ""},
        {"collection": "a\n"},
        {"label": ""},
        {"label": "x" * 201},
        {"label": "nul\x00"},
        {"metadata": "not json"},
        {"metadata": "[1]"},
        {"metadata": '{"a": NaN}'},
        {"metadata": '{"a": "\\u0000"}'},
        {"metadata": '{"a": "\\ud800"}'},
        {"metadata": '{"a":' * 65 + "1" + "}" * 65},
        {"metadata": '{"a":' * 900 + "1" + "}" * 900},
        {"metadata": '{"a":' * 5000 + "1" + "}" * 5000},
        {"metadata": json.dumps({"a": "x" * 20_000})},
        {"job_id": "seven"},
        {"colection": "misspelt"},
    ],
)
def test_a_field_that_cannot_be_taken_is_named(api: FlaskClient, form: dict[str, str]) -> None:
    answer = upload(api, image_bytes(1), **form)
    assert_problem(answer, 422, "invalid_input")
    assert next(iter(form)) in next(iter(answer.get_json()["errors"].values()))


def test_an_upload_without_a_file_is_refused(api: FlaskClient) -> None:
    form = {"label": "rose"}
    assert_problem(api.post("/v1/images", data=form, content_type="multipart/form-data"), 422, "invalid_input")
    assert_problem(api.post("/v1/images", json=form), 422, "invalid_input")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"/v1/images/{UNUSED_ID}", 404, "not_found"),
        ("GET", f"/v1/images/{UNUSED_ID}/file", 404, "not_found"),
        ("GET", f"/v1/images/{UNUSED_ID}/thumbnail", 404, "not_found"),
        ("GET", f"/v1/jobs/{UNUSED_ID}", 404, "not_found"),
        ("GET", f"/v1/jobs/{UNUSED_ID}/items", 404, "not_found"),
        *(
            ("POST", f"/v1/jobs/{UNUSED_ID}/{verb}", 404, "not_found")
            for verb in ("close", "cancel", "retry", "pause", "resume")
        ),
        ("GET", f"/v1/jobs/{UNUSED_ID}/items.csv", 404, "not_found"),
        ("DELETE", f"/v1/images/{UNUSED_ID}", 404, "not_found"),
        ("GET", "/v1/images/not-an-id", 404, "not_found"),
        ("GET", "/nowhere", 404, "not_found"),
        ("PUT", "/v1/images", 405, "method_not_allowed"),
        ("GET", "/v1/images?limit=0", 422, "invalid_input"),
        ("GET", "/v1/images?cursor=x", 422, "invalid_input"),
        ("GET", "/v1/images?label=%00", 422, "invalid_input"),
        ("GET", f"/v1/jobs/{UNUSED_ID}?wait=31", 422, "invalid_input"),
        ("GET", "/v1/jobs?status=done", 422, "invalid_input"),
    ],
)
def test_problems(api: FlaskClient, method: str, path: str, status: int, code: str) -> None:
    assert_problem(api.open(path, method=method), status, code)


def test_an_image_is_described_and_its_label_and_metadata_changed(api: FlaskClient) -> None:
    path = f"/v1/images/{upload(api, image_bytes(1), label='rose').get_json()['image_id']}"
    changed = api.patch(path, json={"label": "tulip", "metadata": {"a": [1]}})
    assert changed.status_code == 200
    image = api.get(path).get_json()
    assert image == changed.get_json()
    assert (image["label"], image["metadata"], image["status"], image["width"]) == ("tulip", {"a": [1]}, "pending", 96)
    assert api.patch(path, json={"label": None}).get_json()["label"] is None
    assert_problem(api.patch(path, json={}), 422, "invalid_input")
    assert_problem(api.patch(path, data="{", content_type="application/json"), 400, "bad_request")


def test_a_removed_image_is_gone(api: FlaskClient) -> None:
    path = f"/v1/images/{upload(api, image_bytes(1)).get_json()['image_id']}"
    assert api.delete(path).status_code == 204
    assert_problem(api.get(path), 404, "not_found")


def test_a_picture_is_served_upright_and_without_its_exif(api: FlaskClient) -> None:
    source = opened(image_bytes(1))
    exif = source.getexif()
    exif[0x0112], exif[0x010E] = 6, "where I live"
    image_id = upload(api, image_bytes(1, exif=exif)).get_json()["image_id"]
    answer = api.get(f"/v1/images/{image_id}/file")
    served = opened(answer.data)
    assert (answer.content_type, served.size, dict(served.getexif())) == ("image/jpeg", (64, 96), {})
    assert b"where I live" not in answer.data
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_thumbnail_is_small_and_cached_by_its_etag(api: FlaskClient) -> None:
    image_id = upload(api, image_bytes(1, size=(1000, 500), kind="PNG")).get_json()["image_id"]
    path = f"/v1/images/{image_id}/thumbnail"
    first = api.get(path)
    assert opened(first.data).size == (320, 160)
    assert api.get(path).data == first.data
    assert api.get(path, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304


def test_of_a_picture_cut_short_the_rest_is_gray_and_image_and_item_say_so(api: FlaskClient) -> None:
    whole = image_bytes(1, size=(400, 300), kind="PNG")
    taken = upload(api, whole[: len(whole) // 2]).get_json()
    assert opened(api.get(f"/v1/images/{taken['image_id']}/file").data).getpixel((399, 299)) == (128, 128, 128)
    image = api.get(f"/v1/images/{taken['image_id']}").get_json()
    [item] = api.get(f"/v1/jobs/{taken['job_id']}/items").get_json()["items"]
    assert (image["note"], item["note"]) == (CUT_SHORT, CUT_SHORT)


def test_images_are_listed_newest_first_page_by_page(api: FlaskClient) -> None:
    made = [upload(api, image_bytes(n), label="odd" if n % 2 else "even").get_json()["image_id"] for n in range(5)]
    first = api.get("/v1/images?limit=3").get_json()
    second = api.get(f"/v1/images?limit=3&cursor={first['next_cursor']}").get_json()
    assert [image["image_id"] for image in first["items"] + second["items"]] == made[::-1]
    assert second["next_cursor"] is None
    assert len(api.get("/v1/images?label=odd").get_json()["items"]) == 2
    assert_problem(api.get("/v1/images?collection=nowhere"), 404, "not_found")


def test_jobs_are_listed_newest_first_and_by_status(api: FlaskClient) -> None:
    made = [upload(api, image_bytes(n)).get_json()["job_id"] for n in range(3)]
    assert [job["id"] for job in api.get("/v1/jobs").get_json()["items"]] == made[::-1]
    assert api.get("/v1/jobs?status=succeeded").get_json()["items"] == []
    assert len(api.get("/v1/jobs?type=upload&limit=2").get_json()["items"]) == 2


@pytest.mark.parametrize(("path", "cost"), [("/v1/images", 1), ("/v1/jobs", 5), ("/v1/collections", 1)])
@pytest.mark.direct
def test_a_list_costs_the_same_queries_however_long(api: FlaskClient, path: str, cost: int) -> None:
    def queries() -> int:
        seen: list[str] = []
        count = lambda *call: seen.append(call[2])  # noqa: E731
        event.listen(engine(), "before_cursor_execute", count)
        assert api.get(path).status_code == 200
        event.remove(engine(), "before_cursor_execute", count)
        return len(seen)

    upload(api, image_bytes(0), collection="c0")
    one = queries()
    for n in range(1, 4):
        upload(api, image_bytes(n), collection=f"c{n}")
    assert (one, queries()) == (cost, cost)


def test_an_import_counts_what_it_takes_and_what_it_refuses(api: FlaskClient) -> None:
    job_id = api.post("/v1/imports", json={"source": {"type": "upload"}}).get_json()["job_id"]
    upload(api, image_bytes(1), job_id=job_id)
    upload(api, image_bytes(1), job_id=job_id)
    upload(api, b"nothing", job_id=job_id, name="nothing.jpg")
    job = api.post(f"/v1/jobs/{job_id}/close").get_json()
    counts = {"total": 3, "pending": 1, "indexed": 0, "duplicate": 1, "failed": 1, "cancelled": 0}
    assert (job["type"], job["status"], job["counts"]) == ("import", "running", counts)
    (failed,) = api.get(f"/v1/jobs/{job_id}/items?status=failed").get_json()["items"]
    assert (failed["name"], failed["error_code"]) == ("nothing.jpg", "unsupported_image")
    assert_problem(upload(api, image_bytes(2), job_id=job_id), 409, "conflict")


def test_known_pictures_are_told_by_their_hash(api: FlaskClient) -> None:
    image = api.get(f"/v1/images/{upload(api, image_bytes(1)).get_json()['image_id']}").get_json()
    body = {"sha256": [image["sha256"], "0" * 64]}
    assert api.post("/v1/images:check", json=body).get_json() == {"known": {image["sha256"]: image["image_id"]}}
    other = api.post("/v1/images:check", json={**body, "collection": "other"}).get_json()
    assert other == {"known": {}}


def test_a_picture_whose_embedding_failed_is_worth_sending_again(api: FlaskClient) -> None:
    image = api.get(f"/v1/images/{upload(api, image_bytes(1)).get_json()['image_id']}").get_json()
    with transaction() as session:
        session.execute(text("UPDATE job_item SET state = 'failed', error_code = 'poison'"))
    assert api.post("/v1/images:check", json={"sha256": [image["sha256"]]}).get_json() == {"known": {}}
    assert upload(api, image_bytes(1)).status_code == 202


def test_an_upload_is_accepted_while_redis_is_down_and_rung_for_later(api: FlaskClient, redis: Redis) -> None:
    redis.stop()
    try:
        answer = upload(api, image_bytes(1))
        search = api.post("/v1/search", data={"file": (io.BytesIO(image_bytes(2)), "q.jpg")})
    finally:
        redis.start()
        waker.cache_clear()
    assert answer.status_code == 202
    assert_problem(search, 503, "queue_unavailable")
    assert search.headers["Retry-After"]


def test_one_waiting_ring_is_enough(redis: Redis) -> None:
    bell = waker()
    assert [bell.wake(Queue.BULK) for _ in range(5)] == [True] * 5
    assert bell._redis.llen(Queue.BULK) == 1
    bell._redis.delete(Queue.BULK)


def test_ready_says_what_is_missing(api: FlaskClient) -> None:
    answer = api.get("/readyz")
    assert answer.status_code == 503
    there, missing = {"database": True, "redis": True, "progress": True}, {"model": False, "worker": False}
    assert answer.get_json()["checks"] == there | missing


def test_alive_and_metrics(api: FlaskClient) -> None:
    upload(api, image_bytes(1))
    assert api.get("/healthz").get_json() == {"alive": True}
    metrics = api.get("/metrics").text
    assert 'umbel_images{collection="default"} 1.0' in metrics
    assert 'umbel_items_pending{queue="single"} 1.0' in metrics


def test_the_page_runs_no_code_from_elsewhere(api: FlaskClient) -> None:
    answer = api.get("/")
    assert answer.status_code == 200
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert "<script>" not in answer.text
    assets = re.findall(r'(?:src|href)="(static/[^"#]+)', answer.text)
    assert [asset for asset in assets if api.get(f"/{asset}").status_code != 200] == []
    assert len(assets) > 2
    assert not re.search(r'\s(?:style|on\w+)="', answer.text)
    assert not re.search(r'(?:src|href)="(?:[a-z]+:|//)', answer.text)


def test_the_specification_names_every_route(app: Any, api: FlaskClient) -> None:
    described = set(api.get("/openapi.json").get_json()["paths"])
    served = {rule.rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/v1")}
    assert {re.sub(r"<\w+:(\w+)>", r"{\1}", path) for path in served} <= described


def test_connections_that_the_database_cut_are_replaced(api: FlaskClient) -> None:
    assert api.get("/v1/images").status_code == 200
    with engine().connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND backend_type = 'client backend' AND datname = current_database()"
            )
        )
    assert api.get("/v1/images").status_code == 200


@pytest.mark.direct
def test_a_database_that_is_away_is_a_503(api: FlaskClient, postgres: Postgres) -> None:
    postgres.stop()
    try:
        answer, metrics = api.get("/v1/images"), api.get("/metrics").text
    finally:
        postgres.start()
    assert "umbel_database_up 0.0" in metrics
    assert_problem(answer, 503, "not_ready")
    assert api.get("/v1/images").status_code == 200

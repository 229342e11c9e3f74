"""What is full takes no more: a queue, a disk, a quota."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.decoding import looked_at
from tests.images import image_bytes
from tests.integration.imports.archives import counts, imported, job, send, zipped
from tests.integration.uploads import post_image
from umbel.base.blobs import Blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.gallery.upload import Uploader
from umbel.imports import listing
from umbel.imports.fetching import FetchingHandler
from umbel.jobs.backpressure import Gate

pytestmark = pytest.mark.usefixtures("database", "redis")


def test_beyond_its_depth_the_queue_takes_no_more(api: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    shut = Gate(transaction, settings().model_copy(update={"max_pending": 1}))
    monkeypatch.setattr("api.images.gate", lambda: shut)
    first = post_image(api, image_bytes(1))
    monkeypatch.setattr(shut, "_looked", float("-inf"))
    second = post_image(api, image_bytes(2))
    assert (first.status_code, second.status_code, second.get_json()["code"]) == (202, 429, "queue_full")
    assert int(second.headers["Retry-After"]) > 0


def test_a_full_disk_takes_no_more_and_is_left_without_a_trace(
    api: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Blobs(settings().blobs, min_free=2**62)
    monkeypatch.setattr("api.uploads.uploader", lambda: Uploader(transaction, full, looked_at))
    monkeypatch.setattr("api.imports.blobs", lambda: full)
    answers = [
        post_image(api, image_bytes(1)),
        send(api, zipped(**{"a.jpg": image_bytes(1)})),
    ]
    assert [(answer.status_code, answer.get_json()["code"]) for answer in answers] == [(507, "storage_full")] * 2
    assert [api.get(path).get_json()["items"] for path in ("/v1/images", "/v1/jobs")] == [[], []]


def test_a_full_queue_is_listed_into_no_further(api: FlaskClient, fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "CHUNK", 2)
    monkeypatch.setattr(FetchingHandler, "_claim", lambda *_: None)
    job_id = imported(api, zipped(**{f"{n}.jpg": image_bytes(n) for n in range(6)}))
    fetch(config=settings().model_copy(update={"max_pending": 3}))
    assert job(api, job_id)["counts"]["total"] == 4


def test_pictures_beyond_the_quota_fail_and_the_others_come_in(api: FlaskClient, fetch: Callable[..., None]) -> None:
    api.post("/v1/collections", json={"name": "garden"})
    api.patch("/v1/collections/garden", json={"max_images": 3})
    archive = zipped(**{f"{n}.jpg": image_bytes(n) for n in range(5)}, **{"again.jpg": image_bytes(0)})
    job_id = imported(api, archive, collection="garden")
    fetch()
    assert counts(api, job_id) == {"pending": 3, "duplicate": 1, "failed": 2}
    failed = api.get(f"/v1/jobs/{job_id}/items?status=failed").get_json()["items"]
    assert {item["error_code"] for item in failed} == {"quota_exceeded"}
    assert api.get("/v1/collections/garden").get_json()["images"] == 3

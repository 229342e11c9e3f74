"""Imports that are cancelled, paused, resumed and tried again."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.images import image_bytes
from tests.integration.imports.archives import counts, embed_all, imported, job, zipped
from umbel.base.blobs import Blobs, blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.imports.fetching import FetchingHandler
from umbel.operations import job_actions, maintenance

pytestmark = pytest.mark.usefixtures("database", "redis")


def test_cancelling_ends_the_listing_and_what_was_listed(
    api: FlaskClient, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = imported(api, zipped(**{"a.jpg": image_bytes(1), "b.jpg": image_bytes(2)}))
    monkeypatch.setattr(FetchingHandler, "_claim", lambda *_: None)
    fetch()
    answer = api.post(f"/v1/jobs/{job_id}/cancel")
    again = api.post(f"/v1/jobs/{job_id}/cancel")
    monkeypatch.undo()
    fetch()
    assert (answer.status_code, again.status_code) == (200, 200)
    seen = job(api, job_id)
    assert (seen["status"], counts(api, job_id), seen["source"]["done"]) == ("cancelled", {"cancelled": 2}, True)
    assert api.get("/v1/images").get_json()["items"] == []


def test_a_picture_whose_import_is_cancelled_while_it_is_read_leaves_neither_row_nor_bytes(
    api: FlaskClient, fetch: Any
) -> None:
    job_id = imported(api, zipped(**{"a.jpg": image_bytes(1)}))

    class Late(Blobs):
        def put(self, key: str, data: bytes) -> None:
            super().put(key, data)
            with ThreadPoolExecutor(1) as other:
                other.submit(lambda: job_actions.cancel_job(transaction, UUID(job_id))).result()

    fetch(Late(settings().blobs))
    with transaction() as session:
        session.execute(text("UPDATE pending_blob_cleanup SET since = '-infinity'"))
    maintenance.clean_up(transaction, blobs(), settings())
    assert counts(api, job_id) == {"cancelled": 1}
    assert (api.get("/v1/images").get_json()["items"], list(blobs().list("pictures"))) == ([], [])


def test_an_import_that_is_being_listed_cannot_be_sealed(api: FlaskClient) -> None:
    job_id = imported(api, zipped(**{"a.jpg": image_bytes(1)}))
    answer = api.post(f"/v1/jobs/{job_id}/close")
    assert (answer.status_code, answer.get_json()["code"]) == (409, "conflict")


def test_a_finished_job_cannot_be_cancelled_or_paused(api: FlaskClient, fetch: Any) -> None:
    job_id = imported(api, zipped(**{"a.jpg": image_bytes(1)}))
    fetch()
    embed_all()
    answers = [api.post(f"/v1/jobs/{job_id}/{verb}") for verb in ("cancel", "pause", "resume")]
    assert [answer.status_code for answer in answers] == [409, 409, 409]


def test_a_paused_job_waits_and_goes_on(api: FlaskClient, fetch: Any) -> None:
    job_id = imported(api, zipped(**{"a.jpg": image_bytes(1)}))
    paused = api.post(f"/v1/jobs/{job_id}/pause").get_json()
    fetch()
    while_paused = job(api, job_id)["counts"]["total"]
    resumed = api.post(f"/v1/jobs/{job_id}/resume").get_json()
    fetch()
    assert (paused["phase"], while_paused, resumed["phase"]) == ("paused", 0, "listing")
    assert counts(api, job_id) == {"pending": 1}


def test_a_retry_takes_up_what_failed_and_nothing_else(api: FlaskClient, fetch: Any, tmp_path: Path) -> None:
    job_id = imported(api, zipped(**{"good.jpg": image_bytes(1), "bad.jpg": b"bad"}))
    fetch()
    embed_all()
    before = job(api, job_id)
    after = api.post(f"/v1/jobs/{job_id}/retry").get_json()
    fetch()
    assert (before["status"], after["status"], after["attempts"]) == ("partial", "running", 2)
    assert (counts(api, job_id), job(api, job_id)["status"]) == ({"indexed": 1, "failed": 1}, "partial")

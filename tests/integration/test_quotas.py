"""Quotas: how much a collection takes, by whatever way and however many come at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.images import image_bytes
from tests.integration.uploads import post_image
from umbel.base.database import transaction

pytestmark = pytest.mark.usefixtures("database", "redis")


@pytest.fixture
def api(api: FlaskClient) -> FlaskClient:
    """With a collection."""
    api.post("/v1/collections", json={"name": "garden"})
    return api


def allow(api: FlaskClient, **quota: int | None) -> dict[str, Any]:
    answer = api.patch("/v1/collections/garden", json=quota)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def upload(api: FlaskClient, seed: int, **form: object) -> TestResponse:
    return post_image(api, image_bytes(seed), collection="garden", **form)


def used() -> tuple[int, int]:
    with transaction() as session:
        row = session.execute(text("SELECT used_images, used_bytes FROM collection WHERE name = 'garden'")).one()
        return row.used_images, row.used_bytes


def test_a_full_collection_takes_no_more_until_something_goes(api: FlaskClient) -> None:
    first = upload(api, 1).get_json()
    assert allow(api, max_images=2)["max_images"] == 2
    assert [upload(api, seed).status_code for seed in (2, 3)] == [202, 507]
    assert upload(api, 3).get_json()["code"] == "quota_exceeded"
    assert upload(api, 2).status_code == 200  # it is there already, so it takes no room
    assert api.delete(f"/v1/images/{first['image_id']}").status_code == 204
    assert upload(api, 3).status_code == 202
    assert used()[0] == 2


def test_bytes_are_counted_as_they_are_stored(api: FlaskClient) -> None:
    size = len(image_bytes(1))
    allow(api, max_bytes=size)
    assert upload(api, 1).status_code == 202
    assert (used(), upload(api, 2).status_code) == ((1, size), 507)
    allow(api, max_bytes=None)
    assert upload(api, 2).status_code == 202


def test_a_quota_below_what_is_there_takes_nothing_away(api: FlaskClient) -> None:
    upload(api, 1), upload(api, 2)
    assert allow(api, max_images=1)["images"] == 2
    assert upload(api, 3).status_code == 507


def test_of_many_at_once_no_more_get_in_than_there_is_room(app: Any, api: FlaskClient) -> None:
    allow(api, max_images=5)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda seed: upload(app.test_client(), seed).status_code, range(12)))
    assert sorted(set(statuses)) == [202, 507]
    assert (statuses.count(202), used()[0]) == (5, 5)


def test_an_upload_into_an_import_is_a_failed_item(api: FlaskClient) -> None:
    allow(api, max_images=0)
    job_id = api.post("/v1/imports", json={"source": {"type": "upload"}, "collection": "garden"}).get_json()["job_id"]
    assert upload(api, 1, job_id=job_id).status_code == 507
    [item] = api.get(f"/v1/jobs/{job_id}/items").get_json()["items"]
    assert (item["status"], item["error_code"]) == ("failed", "quota_exceeded")


@pytest.mark.parametrize(
    "quota", [{}, {"max_images": -1}, {"max_images": 2**63}, {"max_images": "many"}, {"pictures": 1}]
)
def test_a_quota_that_is_none_is_refused(api: FlaskClient, quota: dict[str, Any]) -> None:
    assert api.patch("/v1/collections/garden", json=quota).status_code == 422
    assert api.patch("/v1/collections/nobodys", json={"max_images": 1}).status_code == 404


def test_what_was_set_is_in_the_audit_log(api: FlaskClient) -> None:
    allow(api, max_images=7)
    event = api.get("/v1/admin/audit?limit=1").get_json()["items"][0]
    assert (event["action"], event["target"]) == ("collections.change_collection", "/v1/collections/garden")
    assert (event["actor"], event["details"], event["status"]) == ("anonymous", {"max_images": 7}, 200)

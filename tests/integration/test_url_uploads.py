"""Uploads by URL: the API fetches the picture, under the guards of lists of URLs, and all else is as for an upload."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api import rooms
from tests.images import image_bytes
from tests.integration.uploads import post_image
from tests.picture_server import Server, serving
from umbel.base.settings import settings

pytestmark = pytest.mark.usefixtures("database")

Post = Callable[..., TestResponse]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        running.content = image_bytes(1)
        yield running


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change the settings; without a word of them, this machine may be fetched from."""

    def change(**changes: Any) -> None:
        changed = {"import_urls": True, "private_hosts": ("127.0.0.1",), **changes}
        config = settings().model_copy(update=changed)
        monkeypatch.setattr("api.uploads.settings", lambda: config)

    return change


@pytest.fixture
def post(api: FlaskClient, server: Server, allow: Callable[..., None]) -> Post:
    """Upload by a URL, or a path of the server."""
    allow()

    def send(url: str = "/roses/1.jpg?token=secret", *, key: str | None = None, **body: Any) -> TestResponse:
        url = f"http://127.0.0.1:{server.server_port}{url}" if url.startswith("/") else url
        return api.post("/v1/images", json={"url": url, **body}, headers={"Idempotency-Key": key} if key else {})

    return send


def test_a_picture_is_fetched_and_taken_in_like_an_upload(api: FlaskClient, post: Post, server: Server) -> None:
    described = {"label": "rose", "metadata": {"year": 2026}, "external_id": "sku-1", "collection": "garden"}
    answer = post(**described)
    accepted = answer.get_json()
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/v1/jobs/{accepted['job_id']}")
    image = api.get(f"/v1/images/{accepted['image_id']}").get_json()
    assert {name: image[name] for name in described} == described
    assert image["name"] == f"http://127.0.0.1:{server.server_port}/roses/1.jpg"
    again = post_image(api, image_bytes(1), collection="garden")
    assert (again.status_code, again.get_json()["image_id"]) == (200, accepted["image_id"])
    server.content = image_bytes(2)
    replaced = post(**described, name="2.jpg")
    assert (replaced.status_code, replaced.get_json()["image_id"]) == (202, accepted["image_id"])
    assert api.get(f"/v1/images/{accepted['image_id']}").get_json()["replaced_at"] is not None


@pytest.mark.parametrize(
    ("url", "changes", "expected"),
    [
        ("/picture", {"import_urls": False}, (422, "address_refused", "UMBEL_IMPORT_URLS")),
        ("/picture", {"private_hosts": ()}, (422, "address_refused", "not public")),
        ("ftp://pictures.example/1.jpg", {}, (422, "address_refused", "http")),
        ("http://user:secret@pictures.example/1.jpg", {}, (422, "address_refused", "password")),
        ("/redirect", {}, (422, "unreadable", "redirects")),
        ("/status/404", {}, (422, "unreadable", "404")),
        ("/status/500", {}, (502, "unreachable", "500")),
        ("/slow", {"url_seconds": 0.2}, (502, "unreachable", "in time")),
        ("/huge", {"max_bytes": 20_000}, (413, "file_too_large", "20,000")),
        ("/picture", {}, (415, "unsupported_image", "")),
        ("", {}, (422, "address_refused", "URL")),
    ],
)
def test_what_cannot_be_fetched_is_refused_with_its_reason(
    post: Post, server: Server, allow: Any, *, url: str, changes: Any, expected: tuple[int, str, str]
) -> None:
    status, code, detail = expected
    server.content = b"no picture" * 1_000
    allow(**changes)
    answer = post(url)
    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert detail in problem["detail"]
    assert "secret" not in problem["detail"]


def test_an_idempotency_key_is_answered_as_first_without_fetching_again(post: Post, server: Server) -> None:
    first = post(key="one")
    server.content = image_bytes(2)
    again = post(key="one")
    assert (again.status_code, again.get_json()) == (202, first.get_json())
    assert len(server.paths) == 1
    other = post("/roses/2.jpg", key="one")
    assert (other.status_code, other.get_json()["code"]) == (409, "idempotency_key_reused")


def test_a_refusal_in_an_import_is_one_failed_item(api: FlaskClient, post: Post) -> None:
    job_id = api.post("/v1/imports", json={"source": {"type": "upload"}}).get_json()["job_id"]
    for _ in range(2):
        assert post("/status/404", job_id=job_id, key="one").status_code == 422
    [item] = api.get(f"/v1/jobs/{job_id}/items").get_json()["items"]
    assert (item["status"], item["error_code"]) == ("failed", "unreadable")


def test_slow_servers_do_not_keep_other_uploads_out(
    api: FlaskClient, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = rooms.Room(1, 0.0, "full")
    full.take()
    monkeypatch.setattr("api.rooms.fetches", lambda: full)
    answer = post()
    assert (answer.status_code, answer.get_json()["code"]) == (503, "busy")
    assert int(answer.headers["Retry-After"]) > 0
    assert post_image(api, image_bytes(1)).status_code == 202
    assert settings().api_threads > rooms.fetches()._places

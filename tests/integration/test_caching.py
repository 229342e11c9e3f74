"""What caches may keep of the answers: browsers some of it, proxies nothing that takes a key."""

import io

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.needs import NEEDS
from tests.images import image_bytes
from tests.integration.callers import OURS, call, make_key
from umbel.access.keys import KeyScope


@pytest.fixture(scope="module")
def app(app: Flask, shared_gallery: None) -> Flask:
    app.config["REQUIRE_KEYS"] = True
    return app


@pytest.mark.parametrize("endpoint", [endpoint for endpoint, need in NEEDS.items() if need is not None])
def test_no_shared_cache_keeps_what_takes_a_key(app: Flask, endpoint: str) -> None:
    for key in (None, make_key(KeyScope.ADMIN)):
        assert call(app, endpoint, key).headers["Cache-Control"].startswith(("private", "no-store"))


def test_browsers_keep_pictures_and_ask_again_for_all_else(app: Flask) -> None:
    key = make_key(KeyScope.WRITE, OURS)
    form = {"file": (io.BytesIO(image_bytes(1)), "a.jpg")}
    at = {"image_id": call(app, "images.upload_image", key, data=form).get_json()["image_id"]}
    for endpoint in ("images.get_file", "images.get_thumbnail"):
        kept = call(app, endpoint, key, at=at).headers["Cache-Control"]
        assert {"private", "immutable"} <= set(kept.split(", "))
    for endpoint in ("images.get_image", "images.list_images"):
        assert call(app, endpoint, key, at=at).headers["Cache-Control"] == "private, no-cache"


def test_nothing_is_kept_of_who_is_signed_in_and_signing_out_forgets_the_pictures(app: Flask, api: FlaskClient) -> None:
    key = make_key(KeyScope.READ)
    signed_in = api.post("/v1/session", json={"key": key})
    token = {"X-CSRF-Token": signed_in.get_json()["csrf_token"]}
    for answer in (api.get("/v1/session"), signed_in, api.get("/signin")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Clear-Site-Data" not in answer.headers
    assert api.delete("/v1/session", headers=token).headers["Clear-Site-Data"] == '"cache"'
    again = api.post("/signin", data={"key": key})
    assert again.headers["Cache-Control"] == "no-store"
    csrf = api.get("/v1/session").get_json()["csrf_token"]
    assert api.post("/signout", data={"csrf_token": csrf}).headers["Clear-Site-Data"] == '"cache"'

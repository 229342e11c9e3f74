"""Signed URLs: what they open, for how long, and to whom."""

import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.images import image_bytes
from tests.integration.callers import assert_rejected, make_key
from tests.integration.uploads import post_image
from umbel.access import signing
from umbel.access.keys import KeyScope, digest, prefix_of, revoke_key
from umbel.base.database import transaction

pytestmark = pytest.mark.usefixtures("database", "redis")


@pytest.fixture
def keyed(app: Flask) -> Iterator[FlaskClient]:
    """A client without a key of an API that asks for keys."""
    app.config["REQUIRE_KEYS"] = True
    yield app.test_client()
    app.config["REQUIRE_KEYS"] = False


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def uploaded(api: FlaskClient, seed: int = 1, collection: str = "garden") -> str:
    headers = bearer(make_key(KeyScope.WRITE))
    return str(post_image(api, image_bytes(seed), collection=collection, headers=headers).get_json()["image_id"])


def signed(api: FlaskClient, key: str, image_id: str, **options: int) -> TestResponse:
    return api.post("/v1/images:sign", json={"image_ids": [image_id], **options}, headers=bearer(key))


def path_of(url: str, **changes: str) -> str:
    """Path and query of a signed URL, some of its query changed."""
    parts = urlsplit(url)
    query = {name: value for name, [value] in parse_qs(parts.query).items()} | changes
    return f"{parts.path}?{urlencode(query)}"


def test_a_signed_url_shows_one_picture_without_a_key_on_any_site(keyed: FlaskClient) -> None:
    image_id, key = uploaded(keyed), make_key(KeyScope.READ, "garden")
    answer = signed(keyed, key, image_id, expires_in=600)
    [urls] = answer.get_json()["items"]
    assert urls["image_id"] == image_id
    assert urls["file"].startswith(f"http://localhost/v1/images/{image_id}/file?expires=")
    for part in ("file", "thumbnail"):
        shown = keyed.get(path_of(urls[part]), headers={"Sec-Fetch-Site": "cross-site"})
        assert (shown.status_code, shown.mimetype) == (200, "image/jpeg")
        assert shown.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert shown.headers["Access-Control-Allow-Origin"] == "*"
        caching = shown.headers["Cache-Control"]
        assert caching.startswith("public, max-age=")
        assert 0 < int(caching.split("=")[1].split(",")[0]) <= 600
        again = keyed.get(path_of(urls[part]), headers={"If-None-Match": shown.headers["ETag"]})
        assert (again.status_code, again.headers["Cross-Origin-Resource-Policy"]) == (304, "cross-origin")
        own = keyed.get(f"/v1/images/{image_id}/{part}", headers=bearer(key))
        assert own.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert own.headers["Cache-Control"].startswith("private, ")
        assert "Access-Control-Allow-Origin" not in own.headers
    with transaction() as session:
        audited = session.execute(
            text("SELECT action, status, details FROM audit_event WHERE action NOT LIKE 'keys.%'")
        ).all()
    assert [tuple(one) for one in audited] == [
        ("signed_urls.sign_images", 200, {"image_ids": [image_id], "expires_in": 600})
    ]


def test_a_signed_url_opens_nothing_else(keyed: FlaskClient) -> None:
    image_id, other = uploaded(keyed), uploaded(keyed, 2)
    key, stranger = make_key(KeyScope.READ), make_key(KeyScope.READ)
    url = signed(keyed, key, image_id).get_json()["items"][0]["file"]
    good = path_of(url)
    assert keyed.get(good).status_code == 200
    later = str(int(parse_qs(urlsplit(url).query)["expires"][0]) + 1)
    changed = [
        good.replace("/file", "/thumbnail"),
        good.replace(image_id, other),
        path_of(url, expires=later),
        path_of(url, expires="x"),
        path_of(url, expires="9" * 400),
        path_of(url, key=str(prefix_of(stranger))),
        path_of(url, key="unknown"),
        path_of(url, key="\0"),
        path_of(url, key="anonymous"),
        path_of(url, signature="é"),
        path_of(url, signature="A" * 43),
        good.replace("expires", "until"),
    ]
    for path in changed:
        assert_rejected(keyed.get(path), 403, "bad_signature")
    query = urlsplit(good).query
    for path in (f"/v1/images/{image_id}", f"/v1/images/{image_id}/similar", "/v1/images"):
        assert keyed.get(f"{path}?{query}").status_code == 401
    assert keyed.delete(f"/v1/images/{image_id}?{query}").status_code == 401


def test_a_signed_url_ends_with_its_time_its_key_and_its_image(keyed: FlaskClient) -> None:
    image_id, key = uploaded(keyed), make_key(KeyScope.READ)
    path = path_of(signed(keyed, key, image_id).get_json()["items"][0]["file"])

    def at(expires: int, secret: str = key) -> str:
        """As one who knows a key can sign without asking."""
        signature = signing.sign(digest(secret), f"{image_id}/file", expires)
        query = {"expires": expires, "key": str(prefix_of(secret)), "signature": signature}
        return f"/v1/images/{image_id}/file?{urlencode(query)}"

    assert keyed.get(at(int(time.time()) + 60)).status_code == 200
    assert_rejected(keyed.get(at(int(time.time()) - 1)), 403, "bad_signature")
    assert_rejected(keyed.get(at(int(time.time()) + signing.LONGEST_SECONDS + 3600)), 403, "bad_signature")
    camera, elsewhere = make_key(KeyScope.UPLOAD), make_key(KeyScope.READ, "other")
    assert_rejected(keyed.get(at(int(time.time()) + 60, camera)), 403, "forbidden")
    assert_rejected(keyed.get(at(int(time.time()) + 60, elsewhere)), 404, "not_found")
    assert signed(keyed, elsewhere, image_id).status_code == 404

    with transaction() as session:
        revoke_key(session, str(prefix_of(key)), actor="test")
    assert_rejected(keyed.get(path), 403, "bad_signature")
    fresh = make_key(KeyScope.READ)
    path = path_of(signed(keyed, fresh, image_id).get_json()["items"][0]["file"])
    keyed.delete(f"/v1/images/{image_id}", headers=bearer(make_key(KeyScope.WRITE)))
    assert keyed.get(path).status_code == 404


def test_where_no_keys_are_asked_for_urls_are_signed_too(app: Flask, api: FlaskClient) -> None:
    image_id = str(post_image(api, image_bytes(1)).get_json()["image_id"])
    [urls] = api.post("/v1/images:sign", json={"image_ids": [image_id]}).get_json()["items"]
    shown = api.get(path_of(urls["thumbnail"]))
    assert (shown.status_code, shown.headers["Cross-Origin-Resource-Policy"]) == (200, "cross-origin")
    assert_rejected(api.get(path_of(urls["thumbnail"], signature="no")), 403, "bad_signature")
    app.config["REQUIRE_KEYS"] = True
    try:
        assert_rejected(api.get(path_of(urls["thumbnail"])), 403, "bad_signature")
    finally:
        app.config["REQUIRE_KEYS"] = False


@pytest.mark.parametrize("change", [{"expires_in": 0}, {"expires_in": 604_801}, {"image_ids": []}])
def test_what_cannot_be_signed_is_refused(api: FlaskClient, change: dict[str, object]) -> None:
    body = {"image_ids": ["019a0000-0000-7000-8000-000000000000"], **change}
    assert_rejected(api.post("/v1/images:sign", json=body), 422, "invalid_input")


def test_an_unknown_image_is_not_signed(api: FlaskClient) -> None:
    body = {"image_ids": ["019a0000-0000-7000-8000-000000000000"]}
    assert_rejected(api.post("/v1/images:sign", json=body), 404, "not_found")

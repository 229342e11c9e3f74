"""Wrong keys are limited by address, and right ones get through."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from limits import parse
from werkzeug.test import TestResponse

from api import attempts, create_app
from api.limiter import Limiter, limiter
from stack.postgres import Postgres
from stack.redis import Redis
from umbel.access.keys import KeyScope, create_key, new_key, revoke_key
from umbel.base.database import transaction
from umbel.base.settings import Settings

MOST = 3


@pytest.fixture(params=["direct", "proxied"])
def app(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, postgres: Postgres, redis: Redis
) -> Iterator[Flask]:
    """An API that requires keys and takes three wrong ones a minute, called directly or through one proxy."""
    proxies = int(request.param == "proxied")
    monkeypatch.setattr("api.app.settings", lambda: Settings(require_keys=True, proxies=proxies))
    app = create_app()
    app.config["AUTH_FAILURE_LIMIT"] = parse(f"{MOST}/minute")
    forget()
    yield app
    forget()


def forget() -> None:
    limiter.cache_clear()
    limiter().forget()
    attempts._trusted.cache_clear()


def call(app: Flask, key: str, address: str = "10.0.0.1", path: str = "/v1/models", **options: Any) -> TestResponse:
    if app.config["PROXIES"]:
        headers = {"X-Forwarded-For": f"1.2.3.4, {address}"}  # the first is what the client itself claims
        options["environ_base"] = {"REMOTE_ADDR": "10.9.9.9"}
    else:
        headers, options["environ_base"] = {}, {"REMOTE_ADDR": address}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return app.test_client().open(path, headers=headers, **options)


def guess(app: Flask, count: int, address: str = "10.0.0.1") -> list[int]:
    return [call(app, new_key(), address).status_code for _ in range(count)]


def make_key() -> str:
    with transaction() as session:
        return create_key(session, name="mine", scope=KeyScope.READ, actor="test")[0]


def test_too_many_wrong_keys_are_told_when_to_come_back(app: Flask) -> None:
    assert guess(app, MOST + 1) == [401] * MOST + [429]
    answer = call(app, new_key())
    assert answer.get_json()["code"] == "rate_limited"
    assert 0 < int(answer.headers["Retry-After"]) <= 120


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("unknown", "unknown", True),
    ],
)
def test_an_address_is_limited_and_no_other(app: Flask, one: str, other: str, same: bool) -> None:
    assert guess(app, MOST, one) == [401] * MOST
    assert guess(app, 1, other) == [429 if same else 401]


def test_a_key_that_is_known_gets_through_from_the_same_address(app: Flask) -> None:
    known, new = make_key(), make_key()
    assert call(app, known).status_code == 200
    guess(app, MOST)
    assert call(app, known).status_code == 200
    assert call(app, new).status_code == 429  # unchecked: the trade that docs/how-to/keys.md tells
    assert call(app, new, "10.0.0.2").status_code == 200
    assert call(app, new).status_code == 200  # known by now
    with transaction() as session:
        revoke_key(session, known.split("_")[1], actor="test")
    assert [call(app, known).status_code for _ in range(2)] == [401, 429]


def test_no_key_is_not_a_wrong_one(app: Flask) -> None:
    assert [call(app, "").status_code for _ in range(2 * MOST)] == [401] * 2 * MOST


def test_signing_in_counts_too(app: Flask) -> None:
    form = {"method": "POST", "path": "/signin", "data": {"key": "umbel_wrong"}}
    body = {"method": "POST", "path": "/v1/session", "json": {"key": "umbel_wrong"}}
    assert call(app, "", **form).status_code == 401
    assert call(app, "", **body).status_code == 401
    assert guess(app, 2) == [401, 429]
    assert call(app, "", **body).get_json()["code"] == "rate_limited"
    refused = call(app, "", **form)
    assert (refused.status_code, "wrong keys" in refused.text) == (429, True)
    assert int(refused.headers["Retry-After"]) > 0


def test_a_session_of_a_known_key_goes_on(app: Flask) -> None:
    if app.config["PROXIES"]:
        pytest.skip("the same")
    api: FlaskClient = app.test_client()
    assert api.post("/v1/session", json={"key": make_key()}).status_code == 201
    guess(app, MOST + 1, "127.0.0.1")
    assert api.get("/v1/models").status_code == 200


def test_without_redis_keys_are_checked_as_ever(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = Limiter("redis://127.0.0.1:1/0")
    monkeypatch.setattr(attempts, "limiter", lambda: silent)
    assert guess(app, MOST + 2) == [401] * (MOST + 2)
    assert call(app, make_key()).status_code == 200


def test_what_is_remembered_is_bounded() -> None:
    trusted = attempts._Trusted()
    for number in range(attempts.MOST_TRUSTED + 10):
        trusted.add(str(number))
    assert len(trusted._until) == attempts.MOST_TRUSTED
    assert (str(attempts.MOST_TRUSTED) in trusted, "0" in trusted) == (True, False)

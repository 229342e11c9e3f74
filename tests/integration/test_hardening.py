"""Names, headers, other origins, and how often one may call."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from limits import parse

from api import create_app, rates
from api.limiter import Limiter
from stack.postgres import Postgres
from stack.redis import Redis
from umbel.base.metrics import UNLIMITED
from umbel.base.settings import Settings, settings


@pytest.fixture
def limited(app: Flask, redis: Redis) -> Iterator[Flask]:
    """An API that answers three times a minute."""
    app.config["RATE_LIMIT"] = parse("3/minute")
    rates.limiter.cache_clear()
    rates.limiter().forget()
    yield app
    app.config["RATE_LIMIT"] = None


def statuses(app: Flask, count: int, path: str = "/v1/models", **options: Any) -> list[int]:
    return [app.test_client().get(path, **options).status_code for _ in range(count)]


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("localhost:8080", "/v1/models", 200),
        ("127.0.0.7", "/v1/models", 200),
        ("[::1]:8080", "/v1/models", 200),
        ("pictures.example.org", "/v1/models", 200),
        ("a.lab.example.org:81", "/v1/models", 200),
        ("evil.example", "/v1/models", 400),
        ("evil.example", "/", 400),
        ("lab.example.org.evil.example", "/v1/models", 400),
        ("10.1.2.3:8080", "/healthz", 200),
    ],
)
def test_the_api_is_called_by_its_own_names(app: Flask, host: str, path: str, status: int) -> None:
    app.config["HOSTS"] = ("pictures.example.org", ".lab.example.org")
    assert app.test_client().get(path, headers={"Host": host}).status_code == status


@pytest.mark.parametrize("path", ["/", "/signin", "/v1/models", "/nowhere", "/static/umbel.svg"])
def test_every_answer_is_hardened(app: Flask, path: str) -> None:
    headers = app.test_client().get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "script-src" not in headers["Content-Security-Policy"]  # so the default counts: ours, or none at all
    assert "Access-Control-Allow-Origin" not in headers


def test_only_listed_origins_may_call(monkeypatch: pytest.MonkeyPatch, postgres: Postgres) -> None:
    monkeypatch.setattr("api.app.settings", lambda: Settings(cors_origins="https://ours.example, https://too.example"))
    api = create_app().test_client()
    ours = api.get("/v1/models", headers={"Origin": "https://ours.example"}).headers
    other = api.get("/v1/models", headers={"Origin": "https://other.example"}).headers
    assert ours["Access-Control-Allow-Origin"] == "https://ours.example"
    assert "Access-Control-Allow-Credentials" not in ours
    assert "Access-Control-Allow-Origin" not in other


def test_who_calls_too_often_is_told_when_to_come_back(limited: Flask) -> None:
    assert statuses(limited, 3) == [200] * 3
    answer = limited.test_client().get("/v1/models")
    assert (answer.status_code, answer.get_json()["code"]) == (429, "rate_limited")
    assert 0 < int(answer.headers["Retry-After"]) <= 120
    assert statuses(limited, 1, environ_base={"REMOTE_ADDR": "127.0.0.2"}) == [200]
    assert statuses(limited, 4, path="/healthz") == [200] * 4


def test_a_prometheus_without_a_key_reads_the_metrics_where_that_is_wanted(
    limited: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(limited.config, "REQUIRE_KEYS", True)
    assert statuses(limited, 1, path="/metrics") == [401]
    monkeypatch.setitem(limited.config, "OPEN_METRICS", True)
    assert statuses(limited, 1, path="/metrics") == [200]


def test_without_redis_nobody_is_refused(limited: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = Limiter("redis://127.0.0.1:1/0")
    monkeypatch.setattr(rates, "limiter", lambda: deaf)
    before = UNLIMITED._value.get()
    assert statuses(limited, 5) == [200] * 5
    assert UNLIMITED._value.get() == before + 5


def test_a_limit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_RATE_LIMIT", "often")
    with pytest.raises(ValueError, match="600/minute"):
        Settings()
    assert settings().rate_limit is None

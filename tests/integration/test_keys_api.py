"""Keys over HTTP: made, listed and revoked as `umbel keys` does it, and by no one who may do less than the new key."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from umbel_client import Forbidden, NotFound, Umbel, Unauthorized

from tests.integration.callers import UNUSED_ID, assert_rejected, call, make_key
from tests.integration.test_server import Api
from umbel.access.keys import KeyScope, create_key
from umbel.base.database import transaction


@pytest.fixture
def app(app: Flask, database: None) -> Iterator[Flask]:
    app.config["REQUIRE_KEYS"] = True
    yield app
    app.config["REQUIRE_KEYS"] = False


def test_the_client_makes_lists_and_revokes_keys(server: Api, database: None) -> None:
    with Umbel(server.url, key=make_key(KeyScope.ADMIN, name="operator")) as umbel:
        made = umbel.keys.create("camera", "upload", collections=["garden"], lasts=timedelta(days=90))
        assert (made.scope, made.collections, made.import_roots, made.revoked_at) == ("upload", ["garden"], [], None)
        assert made.expires_at is not None
        assert made.expires_at - made.created_at == pytest.approx(timedelta(days=90), abs=timedelta(seconds=5))
        with Umbel(server.url, key=made.key) as camera:
            assert camera.images.check([]) == {}
            with pytest.raises(Forbidden):
                camera.keys.create("more", "upload")
            assert [key.name for key in umbel.keys.list()] == ["camera", "operator"]
            assert next(umbel.keys.list()).last_used_at is not None
            assert made.key.rpartition("_")[2] not in str([key.as_dict() for key in umbel.keys.list()])
            assert umbel.keys.revoke(made.id).revoked_at is not None
            with pytest.raises(Unauthorized):
                camera.images.check([])
        for nothing_left in (made.id, UUID(UNUSED_ID)):
            with pytest.raises(NotFound):
                umbel.keys.revoke(nothing_left)
        told = [(event.action, event.status, event.details.get("key")) for event in umbel.admin.audit()]
    named = f"camera ({made.prefix})"
    assert told[:4] == [
        ("keys.revoke", 404, None),
        ("keys.revoke", 404, named),
        ("keys.revoke", 200, named),
        ("keys.create", 201, named),
    ]


def test_the_key_is_kept_by_no_cache(app: Flask) -> None:
    answer = call(app, "keys.create", make_key(KeyScope.ADMIN), json={"name": "a", "scope": "read"})
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.get_json()["key"].startswith(f"umbel_{answer.get_json()['prefix']}_")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a", "scope": "owner"},
        {"name": "", "scope": "read"},
        {"name": "a", "scope": "read", "collections": ["no name"]},
        {"name": "a", "scope": "write", "import_roots": ["here"]},
        {"name": "a", "scope": "read", "expires_in": 0},
        {"name": "a", "scope": "read", "expires_in": 10**12},
    ],
)
def test_what_is_no_key_is_refused(app: Flask, body: dict[str, Any]) -> None:
    assert call(app, "keys.create", make_key(KeyScope.ADMIN), json=body).status_code == 422


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ({}, ["/data/ours"]),
        ({"collections": ["garden"]}, []),
        ({"import_roots": []}, []),
        ({"import_roots": ["/data/ours/2026"]}, ["/data/ours/2026"]),
        ({"import_roots": ["/data"]}, None),
        ({"import_roots": ["all"]}, None),
    ],
)
def test_a_key_gives_no_roots_that_it_has_not(app: Flask, asked: dict[str, Any], granted: list[str] | None) -> None:
    with transaction() as session:
        key, _ = create_key(session, name="a", scope=KeyScope.ADMIN, import_roots=["/data/ours"], actor="test")
    answer = call(app, "keys.create", key, json={"name": "b", "scope": "admin", **asked})
    if granted is None:
        assert_rejected(answer, 403, "forbidden")
    else:
        assert answer.get_json()["import_roots"] == granted


def test_pages_of_keys_follow_each_other(app: Flask) -> None:
    admin = make_key(KeyScope.ADMIN, name="first")
    for name in ("second", "third"):
        make_key(KeyScope.READ, name=name)
    first = call(app, "keys.list_", admin, query_string={"limit": 2}).get_json()
    rest = call(app, "keys.list_", admin, query_string={"cursor": first["next_cursor"]}).get_json()
    assert [key["name"] for key in first["items"] + rest["items"]] == ["third", "second", "first"]
    assert rest["next_cursor"] is None

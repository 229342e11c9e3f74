"""Who may do what: every route against every kind of key that must not get through, and those that must."""

import io
import json
import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from api.caller import COOKIE
from api.needs import NEEDS, Need, Where
from cli.keys import keys as cli_keys
from stack.postgres import Postgres
from tests.images import image_bytes
from tests.integration.callers import OURS, UNUSED_ID, assert_rejected, call, make_key
from tests.integration.factory import Factory, committed, unit
from tests.integration.uploads import post_image
from umbel.access.keys import KeyScope, revoke_key
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.tables import Sync, Webhook
from umbel.events.webhooks import create_webhook
from umbel.jobs.wakeup import waker
from umbel.operations import maintenance

READ, UPLOAD, WRITE, ADMIN = KeyScope
GUARDED = {endpoint: need for endpoint, need in NEEDS.items() if need is not None}
THEIRS = "theirs"
LED = (Where.PATH, Where.IMAGE, Where.JOB, Where.WEBHOOK, Where.SYNC)  # their paths lead into a collection
# All that a camera's key may do.
UPLOADERS = {"images.upload_image", "images.check_images", "jobs.get_job", "jobs.list_items"}
ENOUGH = {READ: {READ, WRITE, ADMIN}, UPLOAD: {UPLOAD, WRITE, ADMIN}, WRITE: {WRITE, ADMIN}, ADMIN: {ADMIN}}


@pytest.fixture(scope="module")
def app(app: Flask, shared_gallery: None) -> Flask:
    """An API that asks for keys, with an image and a job in each of two collections."""
    app.config["REQUIRE_KEYS"] = True
    app.config["AUTH_FAILURE_LIMIT"] = None  # these tests present hundreds of wrong keys
    return app


@pytest.fixture(scope="module")
def places(app: Flask) -> dict[str, dict[str, str]]:
    """{collection: the arguments of paths that lead into it}."""
    made = {}
    with transaction() as session:
        for start, name in enumerate((OURS, THEIRS), 1):
            make = Factory(session, start=1000 * start)
            image_id = make.image(collection=name)
            job_id = session.scalar(
                text("INSERT INTO job (type, collection_id, closed) VALUES ('import', :c, false) RETURNING id"),
                {"c": make.collection(name)},
            )
            made[name] = {"name": name, "image_id": str(image_id), "job_id": str(job_id), "version_id": UNUSED_ID}
            made[name] |= {"webhook_id": str(webhook(session, name).id), "delivery_id": UNUSED_ID}
            made[name]["sync_id"] = sync(session, make.collection(name))
    return made


def webhook(session: Session, collection: str | None) -> Webhook:
    return create_webhook(session, "https://hooks.test", types=None, collection=collection, created_by="test")


def sync(session: Session, collection_id: UUID) -> str:
    spec = {"type": "folder", "path": "/pictures", "include_hidden": False, "in_place": False}
    row = Sync(
        collection_id=collection_id, spec=spec,
        adopt=False, label_from_folder=False, every_seconds=60, max_vanished=0.5, paused=True, created_by="test",
    )  # fmt: skip
    session.add(row)
    session.flush()
    return str(row.id)


@pytest.fixture(scope="module")
def keys(app: Flask) -> dict[str, str]:
    made = {scope: make_key(scope) for scope in KeyScope}
    made |= {f"{scope} ours": make_key(scope, OURS) for scope in KeyScope}
    made |= {"expired": make_key(ADMIN, lasts=timedelta(seconds=1)), "revoked": make_key(ADMIN)}
    with transaction() as session:
        revoke_key(session, made["revoked"].split("_")[1], actor="test")
        session.execute(text("UPDATE api_key SET expires_at = now() WHERE expires_at IS NOT NULL"))
    return made


def test_every_route_says_what_it_needs(app: Flask) -> None:
    assert {rule.endpoint for rule in app.url_map.iter_rules()} == set(NEEDS)


@pytest.mark.parametrize("endpoint", GUARDED)
@pytest.mark.parametrize("kind", ["nobody", "no key at all", "unknown", "expired", "revoked"])
def test_who_has_no_valid_key_is_turned_away(app: Flask, keys: dict[str, str], endpoint: str, kind: str) -> None:
    unknown = {"nobody": None, "no key at all": "abc", "unknown": f"umbel_{'0' * 12}_{'0' * 64}"}
    answer = call(app, endpoint, unknown[kind] if kind in unknown else keys[kind])
    assert_rejected(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("endpoint", GUARDED)
def test_another_scope_is_not_enough(app: Flask, keys: dict[str, str], endpoint: str) -> None:
    enough = ENOUGH[GUARDED[endpoint].scope] | ({UPLOAD} if endpoint in UPLOADERS else set())
    for scope in set(KeyScope) - enough:
        assert_rejected(call(app, endpoint, keys[scope]), 403, "forbidden")


def test_an_uploaders_key_reaches_what_it_began_and_nothing_else(
    app: Flask, api: FlaskClient, keys: dict[str, str], places: dict[str, dict[str, str]]
) -> None:
    camera = keys["upload ours"]
    for other in (keys["upload"], keys["write ours"], camera):
        headers = {"Authorization": f"Bearer {other}"}
        begun = post_image(api, image_bytes(77 + list(keys.values()).index(other)), headers=headers, collection=OURS)
        assert begun.status_code == 202, begun.text
        at = {"job_id": begun.get_json()["job_id"]}
        answers = [call(app, endpoint, camera, at=at) for endpoint in ("jobs.get_job", "jobs.list_items")]
        assert {answer.status_code for answer in answers} == ({200} if other == camera else {404})
    into = {"file": (io.BytesIO(PICTURE), "a.jpg"), "collection": OURS, "job_id": places[OURS]["job_id"]}
    assert_rejected(call(app, "images.upload_image", camera, data=into), 404, "not_found")
    assert_rejected(api.post("/v1/session", json={"key": camera}), 403, "forbidden")
    assert api.post("/signin", data={"key": camera}).status_code == 403


PICTURE = image_bytes(1)
# What a request to each of these says to be about another's collection.
NAMING: dict[str, dict[str, Any]] = {
    "images.check_images": {"json": {"sha256": ["0" * 64], "collection": THEIRS}},
    "images.list_images": {"query_string": {"collection": THEIRS}},
    "facets.list_facets": {"query_string": {"by": "label", "collection": THEIRS}},
    "imports.open_import": {"json": {"source": {"type": "upload"}, "collection": THEIRS}},
    "search.search": {"json": {"vector": [1.0], "collection": THEIRS}},
    "search_batch.search_batch": {"json": {"queries": [{"vector": [1.0], "collection": THEIRS}]}},
    "search.legacy_search": {"json": {"image": "AAAA"}},  # names none, so asks all that the key reaches
    "duplicates.compare": {"json": {"collection": THEIRS}},
    "duplicates.list_duplicates": {"query_string": {"collection": THEIRS}},
    "label_issues.list_label_issues": {"query_string": {"collection": THEIRS}},
    "curation.list_outliers": {"query_string": {"collection": THEIRS}},
    "curation.list_representatives": {"query_string": {"collection": THEIRS}},
    "curation.list_label_next": {"query_string": {"collection": THEIRS}},
    "maps.get_map": {"query_string": {"collection": THEIRS}},
    "maps.compute_map": {"json": {"collection": THEIRS}},
    "export.export": {"query_string": {"collection": THEIRS}},
    "bulk.change_images": {"json": {"filter": {}, "label": "x", "collection": THEIRS}},
    "bulk.remove_images": {"json": {"filter": {}, "collection": THEIRS}},
    "trash.list_trash": {"query_string": {"collection": THEIRS}},
    "trash.restore_images": {"json": {"filter": {}, "collection": THEIRS}},
    "trash.purge_images": {"json": {"filter": {}, "collection": THEIRS}},
    "syncs.add_sync": {"json": {"source": {"type": "folder", "path": "/pictures"}, "collection": THEIRS}},
    "collections.create_collection": {"json": {"name": THEIRS}},
    "webhooks.create_webhook": {"json": {"url": "https://hooks.test", "collection": THEIRS}},
}


def naming(endpoint: str, places: dict[str, dict[str, str]]) -> dict[str, Any]:
    if endpoint in ("images.upload_image", "vectors.bring_vectors"):
        return {"data": {"file": (io.BytesIO(PICTURE), "a.jpg"), "collection": THEIRS}}
    if endpoint == "identify.identify_images":
        return {"json": {"image_ids": [places[OURS]["image_id"]], "collection": THEIRS}}
    return NAMING[endpoint]


@pytest.mark.parametrize("endpoint", [name for name, need in GUARDED.items() if need.where is Where.REQUEST])
def test_a_request_about_anothers_collection_is_refused(
    app: Flask, keys: dict[str, str], places: dict[str, dict[str, str]], endpoint: str
) -> None:
    two = make_key(GUARDED[endpoint].scope, OURS, "meadow")
    answer = call(app, endpoint, two, **naming(endpoint, places))
    if endpoint == "search_batch.search_batch":  # each of its searches is answered by itself
        assert [(one["status"], one["code"]) for one in answer.get_json()["answers"]] == [(403, "forbidden")]
    else:
        assert_rejected(answer, 403, "forbidden")


def test_a_url_is_not_fetched_for_anothers_collection(app: Flask, keys: dict[str, str]) -> None:
    body = {"url": "https://pictures.test/1.jpg", "collection": THEIRS}
    assert_rejected(call(app, "images.upload_image", keys["write ours"], json=body), 403, "forbidden")


@pytest.mark.parametrize(
    "endpoint",
    [
        name
        for name, need in GUARDED.items()
        if need.where in (Where.PATH, Where.IMAGE, Where.JOB, Where.WEBHOOK, Where.SYNC)
    ],
)
def test_a_path_into_anothers_collection_leads_nowhere(
    app: Flask, keys: dict[str, str], places: dict[str, dict[str, str]], endpoint: str
) -> None:
    need = GUARDED[endpoint]
    answer = call(app, endpoint, keys[f"{need.scope} ours"], at=places[THEIRS])
    assert_rejected(answer, *((403, "forbidden") if need.where is Where.PATH else (404, "not_found")))


@pytest.mark.parametrize("endpoint", [name for name, need in GUARDED.items() if need.where is Where.ALL])
def test_what_concerns_all_collections_takes_a_key_for_all(app: Flask, keys: dict[str, str], endpoint: str) -> None:
    assert_rejected(call(app, endpoint, keys[f"{GUARDED[endpoint].scope} ours"]), 403, "forbidden")


@pytest.mark.parametrize("endpoint", GUARDED)
def test_the_right_key_gets_through(
    app: Flask, keys: dict[str, str], places: dict[str, dict[str, str]], endpoint: str
) -> None:
    need: Need = GUARDED[endpoint]
    if endpoint == "collections.delete_collection":
        places = {OURS: {**places[OURS], "name": "nobodys"}}
    if endpoint == "webhooks.delete_webhook":
        with transaction() as session:
            places = {OURS: {**places[OURS], "webhook_id": str(webhook(session, OURS).id)}}
    if endpoint == "syncs.remove_sync":
        with transaction() as session:
            places = {OURS: {**places[OURS], "sync_id": sync(session, Factory(session).collection(OURS))}}
    key = keys[need.scope] if need.where is Where.ALL or endpoint == "collections.delete_collection" else None
    answer = call(app, endpoint, key or keys[f"{need.scope} ours"], at={**places[OURS], "image_id": UNUSED_ID})
    assert answer.status_code not in (401, 403), answer.text


def test_lists_hold_what_the_key_reaches(app: Flask, keys: dict[str, str], places: dict[str, dict[str, str]]) -> None:
    def listed(endpoint: str, key: str, field: str) -> set[str]:
        return {item[field] for item in call(app, endpoint, keys[key]).get_json()["items"]}

    assert listed("collections.list_collections", "read ours", "name") == {OURS}
    assert listed("collections.list_collections", "read", "name") >= {OURS, THEIRS}
    assert listed("images.list_images", "read ours", "collection") == {OURS}
    assert places[THEIRS]["job_id"] in listed("jobs.list_jobs", "read", "id")
    ours = listed("jobs.list_jobs", "read ours", "id")
    assert places[OURS]["job_id"] in ours
    assert places[THEIRS]["job_id"] not in ours


@pytest.mark.parametrize("by", ["label", "collection", "metadata.secret", "created_at.year"])
@pytest.mark.parametrize("asked", [{}, {"any": [{}, {"label": "secret"}]}, {"not": {"label": "ours"}}])
def test_facets_and_totals_are_of_what_the_key_reaches(
    app: Flask, keys: dict[str, str], places: dict[str, dict[str, str]], by: str, asked: dict[str, Any]
) -> None:
    with transaction() as session:
        make = Factory(session, start=5000)
        ids = [make.image(collection=THEIRS, label="secret", meta={"secret": "secret"})]
        ids.append(make.image(collection=OURS, label="open"))
    try:
        query = {"by": by, "filter": json.dumps(asked)}
        found = call(app, "facets.list_facets", keys["read ours"], query_string=query).get_json()
        listing = {"filter": json.dumps(asked), "total": "true"}
        listed = call(app, "images.list_images", keys["read ours"], query_string=listing).get_json()
        all_of_it = call(app, "facets.list_facets", keys["read"], query_string=query).get_json()
        with transaction() as session:
            there = session.scalar(
                text("SELECT count(*) FROM image JOIN collection c ON c.id = collection_id AND c.name = 'ours'")
            )
    finally:
        with transaction() as session:
            session.execute(text("DELETE FROM image WHERE id = ANY (:ids)"), {"ids": ids})
    assert "secret" not in [one["value"] for one in found["values"]]
    assert THEIRS not in [one["value"] for one in found["values"]]
    assert found["images"] == listed["total"] == there < all_of_it["images"]


@pytest.mark.parametrize(
    "body", [{"image_id": THEIRS}, {"positive": [OURS, THEIRS]}, {"positive": [OURS], "negative": [THEIRS]}]
)
def test_anothers_images_cannot_be_searched_by(
    app: Flask, keys: dict[str, str], places: dict[str, dict[str, str]], body: dict[str, Any]
) -> None:
    ids = json.loads(re.sub("ours|theirs", lambda match: places[match[0]]["image_id"], json.dumps(body)))
    answer = call(app, "search.search", keys["read ours"], json=ids)
    assert_rejected(answer, 404, "not_found")
    assert places[THEIRS]["image_id"] in answer.get_json()["detail"]


def test_a_cursor_leads_into_no_others_collection(app: Flask, keys: dict[str, str]) -> None:
    """Of one who sees all: a key for one collection goes on in its own, or nowhere."""

    def gallery(make: Factory) -> list[UUID]:
        version = make.version()
        return [
            make.image(collection=where, vector=unit(n), version=version, label="a")
            for n in range(3)
            for where in (OURS, THEIRS)
        ]

    ids = committed(gallery)
    try:
        for asked in ({}, {"collection": THEIRS}):
            body = {"vector": unit(1).tolist(), "k": 1, **asked}
            cursor = call(app, "search.search", keys["read"], json=body).get_json()["next_cursor"]
            for more, rejected in (({}, (422, "cursor_mismatch")), ({"collection": THEIRS}, (403, "forbidden"))):
                again = {"vector": unit(1).tolist(), "k": 1, "cursor": cursor, **more}
                assert_rejected(call(app, "search.search", keys["read ours"], json=again), *rejected)
                batch = call(app, "search_batch.search_batch", keys["read ours"], json={"queries": [again]})
                assert [(one["status"], one["code"]) for one in batch.get_json()["answers"]] == [rejected]
            at = {"image_id": str(ids[0])}
            similar = call(app, "images.similar_images", keys["read ours"], at=at, query_string={"cursor": cursor})
            assert_rejected(similar, 422, "cursor_mismatch")
        for grouped in ({"group_by": "label"}, {"collapse": "duplicates"}, {"diversity": 0.5}, {}):
            body = {"vector": unit(1).tolist(), **grouped}
            found = call(app, "search.search", keys["read ours"], json=body).get_json()["matches"]
            assert {match["collection"] for match in found} <= {OURS}
    finally:
        with transaction() as session:
            session.execute(text("DELETE FROM image WHERE id = ANY (:ids)"), {"ids": ids})
            session.execute(text("UPDATE model_version SET state = 'ready' WHERE state = 'active'"))


def test_nothing_is_written_into_anothers_job(
    app: Flask, keys: dict[str, str], places: dict[str, dict[str, str]]
) -> None:
    form = {"file": (io.BytesIO(b"no picture"), "a.jpg"), "collection": OURS, "job_id": places[THEIRS]["job_id"]}
    assert_rejected(call(app, "images.upload_image", keys["write ours"], data=form), 404, "not_found")
    items = call(app, "jobs.list_items", keys["read"], at=places[THEIRS]).get_json()["items"]
    assert items == []


def test_an_idempotency_key_is_its_callers_own(app: Flask, api: FlaskClient, keys: dict[str, str]) -> None:
    def upload(seed: int, key: str) -> TestResponse:
        headers = {"Authorization": f"Bearer {keys[key]}", "Idempotency-Key": "same"}
        return post_image(api, image_bytes(seed), headers=headers, collection=OURS)

    one, other = upload(1, "write ours"), upload(2, "write")
    assert (one.status_code, other.status_code) == (202, 202)
    assert one.get_json()["job_id"] != other.get_json()["job_id"]


def test_without_a_collection_a_key_for_one_adds_to_its_own(app: Flask, keys: dict[str, str]) -> None:
    image = call(app, "images.upload_image", keys["write ours"], data={"file": (io.BytesIO(image_bytes(5)), "a.jpg")})
    at = {"image_id": image.get_json()["image_id"]}
    found = call(app, "images.get_image", keys["read ours"], at=at).get_json()
    assert found["collection"] == OURS
    known = call(app, "images.check_images", keys["upload ours"], json={"sha256": [found["sha256"]]})
    assert list(known.get_json()["known"].values()) == [found["image_id"]]
    opened = call(app, "imports.open_import", keys["write ours"], json={"source": {"type": "upload"}})
    assert call(app, "jobs.get_job", keys["read ours"], at=opened.get_json()).status_code == 200
    two = make_key(WRITE, OURS, "meadow")
    assert_rejected(call(app, "imports.open_import", two, json={"source": {"type": "upload"}}), 403, "forbidden")


def test_last_use_is_written_once_a_minute(app: Flask, keys: dict[str, str]) -> None:
    key = make_key(READ)

    def used() -> Any:
        call(app, "models.list_models", key)
        with transaction() as session:
            statement = text("SELECT last_used_at, xmin::text FROM api_key WHERE prefix = :prefix")
            return session.execute(statement, {"prefix": key.split("_")[1]}).one()

    first = used()
    assert first.last_used_at is not None
    assert used() == first


def test_of_a_key_only_its_hash_is_kept(app: Flask, postgres: Postgres, keys: dict[str, str]) -> None:
    with transaction() as session:
        kept = session.execute(text("SELECT api_key::text, encode(sha256, 'hex') FROM api_key")).all()
    secrets = [key.rpartition("_")[2] for key in keys.values()]
    assert not [secret for secret in secrets if any(secret in cell for row in kept for cell in row)]


def test_the_command_line_makes_lists_and_revokes_keys(app: Flask) -> None:
    def umbel(*arguments: str) -> Any:
        result = CliRunner().invoke(cli_keys, [*arguments, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    made = umbel("create", "--name", "camera", "--scope", "upload", "--collection", OURS, "--expires", "90d")
    assert call(app, "images.check_images", made["key"], json={"sha256": []}).status_code == 200
    [listed] = [row for row in umbel("list") if row["name"] == "camera"]
    assert listed.keys() == made.keys() - {"key"}
    assert (listed["scope"], listed["collections"], listed["revoked_at"]) == ("upload", [OURS], None)
    assert umbel("revoke", made["prefix"], "--yes")["revoked_at"] is not None
    assert_rejected(call(app, "images.list_images", made["key"]), 401, "unauthenticated")


# A browser


def sign_in(api: FlaskClient, key: str) -> str:
    answer = api.post("/v1/session", json={"key": key})
    assert answer.status_code == 201, answer.text
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    token = answer.get_json()["csrf_token"]
    assert isinstance(token, str)
    return token


def test_a_browser_signs_in_and_out(api: FlaskClient, keys: dict[str, str]) -> None:
    before = api.get("/v1/session").get_json()
    assert (before["signed_in"], before["keys_required"], before["scope"]) == (False, True, None)
    token = sign_in(api, keys["write ours"])
    now = api.get("/v1/session").get_json()
    assert (now["signed_in"], now["scope"], now["collections"], now["csrf_token"]) == (True, WRITE, [OURS], token)
    assert api.get("/v1/images").status_code == 200
    assert_rejected(api.delete("/v1/session"), 403, "cross_site")
    cookie = api.get_cookie(COOKIE)
    assert cookie is not None
    assert api.delete("/v1/session", headers={"X-CSRF-Token": token}).status_code == 204
    api.set_cookie(COOKIE, cookie.value)  # somebody kept it
    assert api.get("/v1/images").status_code == 401


def test_changes_by_a_browser_take_its_token(api: FlaskClient, keys: dict[str, str]) -> None:
    token = sign_in(api, keys["write ours"])
    assert_rejected(api.post("/v1/collections", json={"name": OURS}), 403, "cross_site")
    assert_rejected(
        api.post("/v1/collections", json={"name": OURS}, headers={"X-CSRF-Token": "0" * 64}), 403, "cross_site"
    )
    assert api.post("/v1/collections", json={"name": OURS}, headers={"X-CSRF-Token": token}).status_code == 200


def test_revoking_a_key_signs_its_browsers_out(api: FlaskClient) -> None:
    key = make_key(READ)
    sign_in(api, key)
    with transaction() as session:
        revoke_key(session, key.split("_")[1], actor="test")
    assert api.get("/v1/images").status_code == 401
    assert api.get("/v1/session").get_json()["signed_in"] is False


def test_the_form_needs_no_scripts(api: FlaskClient, keys: dict[str, str]) -> None:
    wrong = api.post("/signin", data={"key": "umbel_wrong"})
    assert wrong.status_code == 401
    assert "This is not a key of this service." in wrong.text
    assert "<script" not in wrong.text
    right = api.post("/signin", data={"key": f" {keys['read']}\n"})
    assert (right.status_code, right.headers["Location"]) == (303, "./")
    found = re.search(r'name="csrf_token" value="(\w+)"', api.get("/signin").text)
    assert found
    assert api.post("/signout", data={"csrf_token": "x"}).status_code == 403
    assert api.post("/signout", data={"csrf_token": found[1]}).status_code == 303
    assert api.get("/v1/images").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://["}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_other_sites_use_no_browser_of_ours(app: Flask, places: object, headers: dict[str, str]) -> None:
    """Neither where keys are asked for, nor where anybody on the machine may do everything."""
    app.config["REQUIRE_KEYS"] = False
    try:
        answer = app.test_client().post("/v1/collections", json={"name": "x"}, headers=headers)
        ours = app.test_client().post("/v1/collections", json={"name": OURS}, headers={"Origin": "http://localhost"})
    finally:
        app.config["REQUIRE_KEYS"] = True
    assert_rejected(answer, 403, "cross_site")
    assert ours.status_code == 200
    assert_rejected(app.test_client().post("/v1/session", json={"key": ""}, headers=headers), 403, "cross_site")


def test_without_keys_required_a_wrong_one_is_refused_all_the_same(app: Flask, api: FlaskClient) -> None:
    app.config["REQUIRE_KEYS"] = False
    try:
        assert api.get("/v1/images").status_code == 200
        assert_rejected(call(app, "images.list_images", "umbel_wrong"), 401, "unauthenticated")
    finally:
        app.config["REQUIRE_KEYS"] = True


BASIC = {"Authorization": "Basic dXNlcjpwYXNz"}


def test_a_password_for_a_proxy_is_no_key_of_ours(app: Flask, api: FlaskClient, keys: dict[str, str]) -> None:
    told = api.get("/v1/images", headers=BASIC)
    assert_rejected(told, 401, "unauthenticated")
    assert "another scheme" in told.get_json()["detail"]
    sign_in(api, keys["write ours"])
    assert api.get("/v1/images", headers=BASIC).status_code == 200
    # Browsers send the password by themselves, so it stands for no token of theirs.
    assert_rejected(api.post("/v1/collections", json={"name": OURS}, headers=BASIC), 403, "cross_site")
    app.config["REQUIRE_KEYS"] = False
    try:
        other = app.test_client()
        assert other.get("/v1/images", headers=BASIC).status_code == 200
        evil = {**BASIC, "Origin": "https://evil.example"}
        assert_rejected(other.post("/v1/collections", json={"name": OURS}, headers=evil), 403, "cross_site")
    finally:
        app.config["REQUIRE_KEYS"] = True


def test_what_administrators_change_is_written_down(app: Flask, keys: dict[str, str]) -> None:
    call(app, "models.activate_model", keys["admin"])
    call(app, "admin.reindex", keys["write"], json={})
    answer = call(app, "admin.list_audit", keys["admin"], query_string={"limit": 1})
    [event] = answer.get_json()["items"]
    assert event["action"] == "models.activate_model"
    assert event["target"] == f"/v1/models/{UUID(UNUSED_ID)}/activate"
    assert event["actor"] == f"test ({keys['admin'].split('_')[1]})"
    assert event["status"] == 404
    older = call(app, "admin.list_audit", keys["admin"], query_string={"cursor": answer.get_json()["next_cursor"]})
    assert "keys.create" in {each["action"] for each in older.get_json()["items"]}


def test_the_sweep_forgets_what_is_over(app: Flask, api: FlaskClient, keys: dict[str, str]) -> None:
    sign_in(api, keys["read"])
    with transaction() as session:
        session.execute(text("UPDATE web_session SET expires_at = now()"))
        session.execute(text("UPDATE audit_event SET at = now() - interval '401 days' WHERE action = 'keys.revoke'"))
    maintenance.sweep(transaction, waker(), settings())
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM web_session")) == 0
        assert "keys.revoke" not in set(session.scalars(text("SELECT action FROM audit_event")))

"""JSON from outside, by every way in: what is taken, what is refused and why, and that what is stored is served."""

import csv
import io
import json
from base64 import b64encode
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.images import image_bytes
from tests.integration.test_api import assert_problem
from tests.integration.uploads import post_image
from umbel.base.database import transaction
from umbel.base.storable import DEEPEST
from umbel.base.types import Queue
from umbel.gallery.filter_sql import filter_literal
from umbel.gallery.filters import Filter
from umbel.jobs.claims import claim_items

pytestmark = pytest.mark.usefixtures("database", "redis")

JSON = "application/json"


def nested(depth: int) -> str:
    return '{"a": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


def all_ways(api: FlaskClient, metadata: str) -> list[TestResponse]:
    """The answers to requests that hold the object, in a form or at whatever place of a JSON body."""
    image = post_image(api, image_bytes(1)).get_json()["image_id"]
    bodies = {
        f"/v1/images/{image}": f'{{"metadata": {metadata}}}',
        "/v1/search": f'{{"image_id": "{image}", "filter": {{"metadata": {metadata}}}}}',
        "/v1/identify": f'{{"image_ids": ["{image}"], "filter": {{"metadata": {metadata}}}}}',
        "/v1/imports": f'{{"source": {metadata}}}',
        "/v1/collections": metadata,
        "/v1/images:check": f'{{"sha256": [{metadata}]}}',
        "/v1/session": f'{{"key": {metadata}}}',
        "/search": f'{{"image": {metadata}}}',
    }
    methods = {path: api.patch if path.endswith(image) else api.post for path in bodies}
    answers = [methods[path](path, data=body, content_type=JSON) for path, body in bodies.items()]
    form = {"file": (io.BytesIO(image_bytes(1)), "q.jpg"), "filter": f'{{"metadata": {metadata}}}'}
    answers.append(api.post("/v1/search", data=form))
    return [*answers, post_image(api, image_bytes(2), metadata=metadata)]


@pytest.mark.parametrize("depth", [DEEPEST + 1, 300, 900, 20_000])
def test_what_is_nested_too_deeply_is_refused_for_that_reason(api: FlaskClient, depth: int) -> None:
    for answer in all_ways(api, nested(depth)):
        assert_problem(answer, 422, "invalid_input")
        assert f"must not be nested more than {DEEPEST} levels deep" in str(answer.get_json()["errors"])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (r"\u0000", "NUL"),
        (r"\\\u0000", "NUL"),
        (r"\ud83d", "Unicode"),
        (r"\udca4\ud83d", "Unicode"),
    ],
)
def test_text_that_cannot_be_stored_is_refused_by_every_way(api: FlaskClient, value: str, reason: str) -> None:
    for metadata in (f'{{"a": "{value}"}}', f'{{"{value}": 1}}'):
        for answer in all_ways(api, metadata):
            assert_problem(answer, 422, "invalid_input")
            assert reason in str(answer.get_json()["errors"])


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "9" * 5_000])
def test_numbers_that_cannot_be_served_are_refused_by_every_way(api: FlaskClient, value: str) -> None:
    for answer in all_ways(api, f'{{"a": {value}}}'):
        assert_problem(answer, 422, "invalid_input")
        assert "4,300 digits" in str(answer.get_json()["errors"])


@pytest.mark.parametrize(
    "metadata",
    [
        nested(DEEPEST),
        r'{"regex": "\\u0000"}',
        '{"": 1}',
        '{"a": 1, "a": 2}',
        '{"$gte": 3}',
        '{"price": {"$gte": 3}}',
        '{"a": {"$eq": {"$in": []}}}',
        '{"a": 1180591620717411303424, "b": 0.1234567890123456789012345678901234567890, "c": 1e22}',
        '{"a": ' + "9" * 4_000 + "}",
        r'{"\ud83d\ude00": "é\u00e9"}',
    ],
)
def test_what_only_looks_odd_is_kept_and_found(api: FlaskClient, metadata: str) -> None:
    image = post_image(api, image_bytes(1), metadata=metadata).get_json()["image_id"]
    expected = json.loads(metadata)
    assert api.get(f"/v1/images/{image}").get_json()["metadata"] == expected
    if metadata != nested(DEEPEST):  # a body would hold it at a greater depth
        changed = api.patch(f"/v1/images/{image}", data=f'{{"metadata": {metadata}}}', content_type=JSON)
        assert changed.get_json()["metadata"] == expected
        asked = {key: {"$eq": value} for key, value in expected.items()}
        condition = filter_literal(Filter.model_validate({"metadata": asked}))
        with transaction() as session:
            found = session.connection().exec_driver_sql(f"SELECT id FROM image i WHERE {condition}".replace("%", "%%"))
            assert [str(row.id) for row in found] == [image]


@pytest.mark.parametrize("body", [b"", b"{", b"[1,]", b"\xff{}", "{}".encode("utf-16"), b"\x1f\x8b\x08\x00"])
def test_a_body_that_is_not_json_is_a_bad_request(api: FlaskClient, body: bytes) -> None:
    for path in ("/v1/search", "/v1/images:check", "/v1/identify", "/v1/imports", "/search"):
        assert_problem(api.post(path, data=body, content_type=JSON), 400, "bad_request")


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"{}"'])
def test_a_body_that_is_no_object_is_told_so(api: FlaskClient, body: bytes) -> None:
    for path in ("/v1/search", "/v1/images:check", "/v1/identify", "/v1/imports", "/search"):
        answer = api.post(path, data=body, content_type=JSON)
        assert_problem(answer, 422, "invalid_input")
        assert "must be a JSON object" in str(answer.get_json()["errors"])


def test_a_byte_order_mark_is_skipped(api: FlaskClient) -> None:
    assert api.post("/v1/images:check", data=b'\xef\xbb\xbf{"sha256": []}', content_type=JSON).status_code == 200


@pytest.mark.parametrize("depth", [DEEPEST + 1, 300, 900, 8_000])
def test_what_was_stored_before_there_was_a_limit_is_served(api: FlaskClient, depth: int) -> None:
    accepted = post_image(api, image_bytes(1), label="rose").get_json()
    stored = f'{{"year": 2026, "huge": {"9" * 5_000}, "deep": {nested(depth)}}}'
    with transaction() as session:
        values = {"id": UUID(accepted["image_id"]), "stored": stored}
        session.execute(text("UPDATE image SET metadata = CAST(:stored AS jsonb) WHERE id = :id"), values)
        session.execute(text("UPDATE job_item SET metadata = CAST(:stored AS jsonb) WHERE image_id = :id"), values)
    [listed] = api.get("/v1/images").get_json()["items"]
    described = api.get(f"/v1/images/{accepted['image_id']}").get_json()
    assert described | listed == described
    metadata = listed["metadata"]
    assert (metadata["year"], metadata["huge"], DEEPEST in depths(metadata)) == (2026, "9" * 5_000, True)
    assert max(depths(metadata)) == DEEPEST
    job = f"/v1/jobs/{accepted['job_id']}"
    assert len(api.get(f"{job}/items").get_json()["items"]) == 1
    assert len(list(csv.reader(io.StringIO(api.get(f"{job}/items.csv").text)))) == 2
    for path in ("/v1/collections", "/v1/jobs", job):
        assert api.get(path).status_code == 200
    with transaction() as session:
        [seen] = session.execute(text("SELECT metadata->>'year', metadata FROM umbel.images"))
        [claimed] = claim_items(session, Queue.SINGLE, owner="test", limit=9, lease_seconds=60)
    assert tuple(seen) == ("2026", metadata)
    assert str(claimed.image_id) == accepted["image_id"]
    assert (
        api.patch(f"/v1/images/{accepted['image_id']}", json={"metadata": {"deep": None, "new": 1}}).status_code == 200
    )


def depths(value: Any, depth: int = 1) -> set[int]:
    """At which depths of a value there are objects and lists."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return set() if inner is None else {depth}.union(*(depths(one, depth + 1) for one in inner))


@pytest.mark.parametrize("path", ["/v1/search", "/search", "/v1/identify"])
@pytest.mark.parametrize("text", ["", "A", "@@@@", "data:image/jpeg,%FF", "data:image/jpeg;base64", "QUJD=QUJD", "😀"])
def test_what_is_not_base64_is_told_why(api: FlaskClient, path: str, text: str) -> None:
    answer = api.post(path, json={"images": [text]} if path.endswith("identify") else {"image": text})
    assert_problem(answer, 422, "invalid_input")
    assert "base64" in str(answer.get_json()["errors"])


def test_no_form_of_base64_is_refused(api: FlaskClient) -> None:
    plain = b64encode(b"no picture, but read all the same").decode()
    sent = {"image": f"data:image/jpeg;base64,{plain}"}
    assert_problem(api.post("/v1/search", json=sent), 415, "unsupported_image")

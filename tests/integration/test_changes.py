"""Changing an image: metadata is merged, and nothing is changed that was changed meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.images import image_bytes
from tests.integration.uploads import post_image
from umbel.base.storable import LONGEST_OBJECT, merged

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def path(api: FlaskClient) -> str:
    image = post_image(api, image_bytes(1), label="rose", metadata='{"camera": {"make": "F", "lens": 35}, "year": 1}')
    return f"/v1/images/{image.get_json()['image_id']}"


# Source: RFC 7396, appendix A.
@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_is_as_its_standard_says(value: Any, patch: Any, result: Any) -> None:
    assert merged(value, patch) == result


def test_metadata_is_merged(api: FlaskClient, path: str) -> None:
    def patched(metadata: Any) -> Any:
        return api.patch(path, json={"metadata": metadata}).get_json()["metadata"]

    assert patched({"camera": {"lens": None, "iso": 100}}) == {"camera": {"make": "F", "iso": 100}, "year": 1}
    assert patched({"year": None, "place": "Kew"}) == {"camera": {"make": "F", "iso": 100}, "place": "Kew"}
    assert api.patch(path, json={"label": None}).get_json()["metadata"]["place"] == "Kew"
    merge_patch = {"content_type": "application/merge-patch+json"}
    assert api.patch(path, data='{"metadata": {"camera": 1}}', **merge_patch).get_json()["metadata"]["camera"] == 1
    assert patched(None) == {}


def test_metadata_does_not_grow_beyond_its_limit(api: FlaskClient, path: str) -> None:
    for number, status in ((1, 200), (2, 422)):
        answer = api.patch(path, json={"metadata": {f"key{number}": "x" * (LONGEST_OBJECT * 2 // 3)}})
        assert answer.status_code == status
    assert answer.get_json()["code"] == "invalid_input"
    assert set(api.get(path).get_json()["metadata"]) == {"camera", "year", "key1"}


@pytest.mark.parametrize("change", [{"method": "PATCH", "json": {"label": "tulip"}}, {"method": "DELETE"}])
def test_nothing_is_changed_that_was_changed_meanwhile(api: FlaskClient, path: str, change: dict[str, Any]) -> None:
    seen = api.get(path).headers["ETag"]
    changed = api.patch(path, json={"label": "lily"}, headers={"If-Match": seen})
    assert changed.status_code == 200
    for stale in (seen, f"W/{changed.headers['ETag']}", '"other"', "junk", ""):
        late = api.open(path, headers={"If-Match": stale}, **change)
        assert (late.status_code, late.get_json()["code"]) == (412, "precondition_failed")
    described = api.get(path)
    assert (described.get_json()["label"], described.headers["ETag"]) == ("lily", changed.headers["ETag"])
    for matching in (f'"other", {changed.headers["ETag"]}', "*"):
        answer = api.open(path, headers={"If-Match": matching}, **change)
        assert answer.status_code in (200, 204, 404)
        if change["method"] == "PATCH":
            api.patch(path, json={"label": "lily"})
    assert api.patch(path.replace(path[-4:], "0000"), json={"label": "x"}, headers={"If-Match": "*"}).status_code == 404


def test_of_many_changes_to_what_was_seen_one_is_made_and_merges_lose_none(app: Flask, path: str) -> None:
    seen = app.test_client().get(path).headers["ETag"]

    def change(number: int) -> int:
        changes = {"json": {"metadata": {f"n{number}": number}}, "headers": {"If-Match": seen} if number % 2 else {}}
        return app.test_client().patch(path, **changes).status_code  # type: ignore[arg-type]

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(change, range(16)))
    made = [number for number, status in enumerate(statuses) if status == 200]
    assert set(range(0, 16, 2)) <= set(made)
    assert len(set(made) & set(range(1, 16, 2))) <= 1
    known = app.test_client().get(path).get_json()["metadata"]
    assert {name for name in known if name.startswith("n")} == {f"n{number}" for number in made}

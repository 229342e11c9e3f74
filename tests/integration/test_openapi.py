"""The specification: valid, whole, true in its examples. tests/browser/test_reference.py reads it at /docs."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from pydantic import BaseModel

from api.specification import FOLLOWED, METHODS, TAGS, operations
from tests.images import image_bytes
from umbel.base.settings import settings

API = Path(__file__).parents[2] / "api"
NOT_OF_THE_API = {
    "/",
    "/docs",
    "/errors",
    "/files.json",
    "/openapi.json",
    "/static/<path:filename>",
    "/signin",
    "/signout",
}


@pytest.fixture(scope="module")
def spec(app: Flask) -> Any:
    return app.test_client().get("/openapi.json").get_json()


def test_it_is_valid_openapi(spec: Any) -> None:
    assert spec["openapi"].startswith("3.1")
    validate(spec)


def test_every_route_is_in_it_and_nothing_else(app: Any, spec: Any) -> None:
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule not in NOT_OF_THE_API
        for method in rule.methods
        if method.lower() in METHODS
    }
    assert len(served) > 40
    assert {(path, method) for path, method, _ in operations(spec)} == served


def test_every_operation_is_named_once_described_and_filed(spec: Any) -> None:
    found = [operation for *_, operation in operations(spec)]
    ids = [operation["operationId"] for operation in found]
    assert len(set(ids)) == len(ids)
    assert [one["operationId"] for one in found if not one["summary"] or not set(one["tags"]) <= set(TAGS)] == []
    targets = {target for fields in FOLLOWED.values() for targets in fields.values() for target in targets}
    assert targets | set(FOLLOWED) <= set(ids)
    assert {one["tags"][0] for one in found} == set(TAGS)


def test_every_body_of_the_code_is_a_schema_and_every_schema_has_one_name(spec: Any) -> None:
    modules = {f"api.{path.stem}" for path in API.glob("*.py")}  # not those of a page of docs/developing that was run
    of_the_code = {model.__name__ for model in _models(BaseModel) if model.__module__ in modules} - {
        "Strict",
        "ComparedOut",
        "CuratedOut",
        "Scoped",
        "Selected",
        "SearchOptions",
        "ImportOptions",
        "UploadOptions",
    }
    queries = {name for name in of_the_code if name.endswith("Query")}
    assert of_the_code - queries - set(spec["components"]["schemas"]) == set()
    assert [name for name in spec["components"]["schemas"] if "." in name] == []
    mapped = re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(spec))
    assert set(mapped) - set(spec["components"]["schemas"]) == set()


def test_it_says_when_an_idempotency_key_is_a_conflict(spec: Any) -> None:
    keyed = {
        operation["operationId"]: operation["responses"]["409"]["description"]
        for *_, operation in operations(spec)
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation["parameters"])
    }
    many = {"change_images", "remove_images", "restore_images", "purge_images"}
    assert set(keyed) == {"upload_image", "open_import", *many}
    assert all("idempotency_key_reused" in description for description in keyed.values())


def test_every_refusal_is_a_problem(spec: Any) -> None:
    for path, method, operation in operations(spec):
        rejected = {status for status in operation["responses"] if status >= "400"}
        if "requestBody" in operation:
            assert {"400", "413", "422"} <= rejected, (method, path)
        for status in rejected - ({"503"} if path == "/readyz" else set()):
            assert list(operation["responses"][status]["content"]) == ["application/problem+json"], (method, path)


def test_every_example_is_what_its_schema_says(spec: Any) -> None:
    checked = 0
    for where, schema, example in _examples(spec):
        assert [f"{where}: {error.message}" for error in _validator(schema, spec).iter_errors(example)] == []
        checked += 1
    assert checked > 100


@pytest.mark.usefixtures("database")
def test_every_example_of_a_request_is_taken(api: FlaskClient, spec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    soon = settings().model_copy(update={"query_seconds": 0.1})  # no worker embeds the examples' pictures
    monkeypatch.setattr("api.search.settings", lambda: soon)
    rooted = settings().model_copy(update={"import_roots": ("s3://pictures",)})
    monkeypatch.setattr("api.syncs.settings", lambda: rooted)
    monkeypatch.setattr("umbel.imports.sources.web.Web.fetch", lambda *_: image_bytes(1))
    rejected, sent = [], 0
    for path, method, operation in operations(spec):
        example = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
        if example is None:
            continue
        places = {one["name"]: one["schema"]["examples"][0] for one in operation["parameters"] if one["in"] == "path"}
        answer = api.open(path.format(**places), method=method.upper(), json=example)
        if answer.status_code in (400, 405, 413, 415, 422):
            rejected.append((path, method, example, answer.get_json()))
        sent += 1
    assert rejected == []
    assert sent > 10


@pytest.mark.usefixtures("database")
def test_a_body_that_is_no_object_is_refused(api: FlaskClient) -> None:
    for body in (b"null", b"[]", b'"text"', b"7", b"", b"{", b"\xff\xfe", b'{"name": "\xff"}'):
        for path in ("/v1/collections", "/v1/search", "/v1/admin/recall"):
            answer = api.post(path, data=body, content_type="application/json")
            assert answer.status_code in (400, 422), (path, body)
            assert answer.content_type == "application/problem+json"


def _models(of: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in of.__subclasses__():
        yield model
        yield from _models(model)


def _validator(schema: Any, spec: Any) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": spec["components"]})


def _examples(node: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(place, schema, example) of each example at and below a node."""
    if isinstance(node, list):
        for number, child in enumerate(node):
            yield from _examples(child, f"{where}/{number}")
    if isinstance(node, dict):
        if "example" in node and "schema" in node:
            yield where, node["schema"], node["example"]
        if isinstance(node.get("examples"), list):
            yield from ((where, node, example) for example in node["examples"])
        for name, child in node.items():
            if name not in ("example", "examples"):
                yield from _examples(child, f"{where}/{name}")

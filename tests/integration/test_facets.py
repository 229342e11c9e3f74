"""Filters and facets over HTTP, in the client and from the command line; docs/reference/filters.md is true."""

import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from umbel_client import Umbel
from werkzeug.test import TestResponse

from tests.command_line import umbel_here
from tests.integration.factory import Factory, committed, unit
from tests.integration.test_search_api import assert_problem
from tests.model.metadata import passes
from umbel.gallery.filters import DEEPEST_FILTER, MOST_TERMS

pytestmark = pytest.mark.usefixtures("database", "redis")

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "filters.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+ ?\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
# What the page's examples are about: label, name, metadata.
IMAGES: list[tuple[str | None, str | None, dict[str, Any]]] = [
    ("rose", "holiday/1.jpg", {"camera": "X100V", "year": 2021, "season": "summer", "retouched": True}),
    ("rose", "2.jpg", {"year": 2022, "place": "Zürich", "tags": ["macro", "dew"], "lens": {"f": 2, "mm": 35}}),
    ("tulip", "3.jpg", {"camera": "X100V", "year": 2020, "season": "spring", "tags": "macro"}),
    ("iris", None, {"year": "2020", "taken": "2024-05-09", "size": {"gte": 3}, "tags": ["dew", "dew", {"a": 1}]}),
    (None, "5.jpg", {"year": None, "tags": []}),
]


@pytest.fixture
def images(database: None) -> list[UUID]:
    def gallery(make: Factory) -> list[UUID]:
        version = make.version()
        ids = [
            make.image(vector=unit(n), version=version, label=label, meta=meta, collection="garden")
            for n, (label, _, meta) in enumerate(IMAGES)
        ]
        rows = [{"id": one, "name": name} for one, (_, name, _) in zip(ids, IMAGES, strict=True)]
        make.session.execute(
            text("UPDATE image SET name = :name, created_at = '2026-11-27T12:00Z' WHERE id = :id"), rows
        )
        make.image(vector=unit(9), version=version, label="rose", collection="meadow")
        return ids

    return committed(gallery)


def listed(api: FlaskClient, asked: Any, **query: Any) -> TestResponse:
    return api.get("/v1/images", query_string={"filter": json.dumps(asked), **query})


@pytest.mark.parametrize("written", [code for kind, code in BLOCKS if kind == "json"])
def test_each_filter_of_the_page_finds_what_it_says(api: FlaskClient, images: list[UUID], written: str) -> None:
    asked, at = json.loads(written), datetime(2026, 11, 27, 12, tzinfo=UTC)
    right = {
        str(one)
        for one, (label, name, meta) in zip(images, IMAGES, strict=True)
        if passes(asked, label, meta, name=name, created_at=at)
    }
    answer = listed(api, asked, collection="garden", total="true").get_json()
    assert {one["image_id"] for one in answer["items"]} == right
    assert answer["total"] == len(right) > 0
    search = {"collection": "garden", "filter": asked}
    found = api.post("/v1/search", json={"vector": unit(1).tolist(), **search}).get_json()
    assert {match["image_id"] for match in found["matches"]} == right
    query = {**search, "filter": json.dumps(asked)}
    similar = api.get(f"/v1/images/{images[0]}/similar", query_string=query).get_json()
    assert {match["image_id"] for match in similar["matches"]} == right - {str(images[0])}


def test_what_the_page_says_is_refused_is_refused_so(api: FlaskClient) -> None:
    [refused], [errors] = ([code for kind, code in BLOCKS if kind == f"json {word}"] for word in ("refused", "errors"))
    answer = listed(api, json.loads(refused))
    assert_problem(answer, 422, "invalid_input")
    assert answer.get_json()["errors"] == json.loads(errors)


NESTED: Any = {}
for _ in range(DEEPEST_FILTER):
    NESTED = {"not": NESTED}


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"lable": "x"}, "filter.lable"),
        ({"label": 7}, "filter.label"),
        ({"label": {}}, "filter.label"),
        ({"label": {"in": ["a", ""]}}, "filter.label.in.1"),
        ({"label": ["x"] * 1_001}, "filter.label.in"),
        ({"all": [{}, {"name": {"prefix": None}}]}, "filter.all.1.name.prefix"),
        ({"not": None}, "filter.not"),
        ({"any": {}}, "filter.any"),
        ({"created_at": {"eq": "2026-11-27"}}, "filter.created_at.eq"),
        ({"created_at": {"gte": "2026-11-27T10:00"}}, "filter.created_at.gte"),
        ({"created_at": {"gte": 0}}, "filter.created_at.gte"),
        ({"created_at": {"gte": "0001-01-01T00:00:00+23:59"}}, "filter.created_at.gte"),
        ({"metadata": {"year": {"$near": 1}}}, "filter.metadata.year"),
        ({"metadata": {"year": {"$gt": 1, "gt": 2}}}, "filter.metadata.year"),
        ({"metadata": {"year": {"$gt": True}}}, "filter.metadata.year.gt"),
        ({"metadata": {"year": {"$in": "a"}}}, "filter.metadata.year.in"),
        ({"metadata": {"year": {"in": list(range(101))}}}, "filter.metadata.year.in"),
        ({"metadata": {"year": {"exists": 1}}}, "filter.metadata.year.exists"),
        ({"metadata": {"year": {"prefix": ""}}}, "filter.metadata.year.prefix"),
        ({"metadata": {"a": "x" * 16_384}}, "filter.metadata"),
        ({"any": [{"label": "a"}] * (MOST_TERMS + 1)}, "filter"),
        ({"any": [{}, {"metadata": {str(n): {"in": [1] * 90} for n in range(3)}}]}, "filter.any.1"),
        ({"all": [{"label": ["x" * 1_000] * 300}]}, "filter.all.0"),
        ({"any": [NESTED]}, "filter.any.0"),
    ],
)  # fmt: skip
def test_a_filter_that_makes_no_sense_is_refused_where_it_does_not(api: FlaskClient, asked: Any, where: str) -> None:
    committed(lambda make: make.version())
    answer = api.post("/v1/search", json={"vector": [1.0] * 8, "filter": asked})
    assert_problem(answer, 422, "invalid_input")
    assert list(answer.get_json()["errors"]["body"]) == [where]


@pytest.mark.parametrize("asked", ["", "{", "[]", "7", '{"label": NaN}'])
def test_a_filter_in_a_query_is_a_json_object(api: FlaskClient, asked: str) -> None:
    for answer in (
        api.get("/v1/images", query_string={"filter": asked}),
        api.get("/v1/facets", query_string={"filter": asked, "by": "label"}),
    ):
        assert_problem(answer, 422, "invalid_input")
        assert list(answer.get_json()["errors"]["query"]) == ["filter"]


def test_pages_of_a_filtered_list_have_each_image_once(api: FlaskClient, images: list[UUID]) -> None:
    asked, seen, cursor = {"metadata": {"year": {"exists": True}}}, [], None
    while not seen or cursor:
        page = listed(api, asked, limit=2, **({"cursor": cursor} if cursor else {})).get_json()
        seen += [one["image_id"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert seen == [str(one) for one in reversed(images)]
    assert listed(api, asked, label="rose", total="true").get_json()["total"] == 2


def test_facets_are_counted(api: FlaskClient, images: list[UUID]) -> None:
    def counted(**query: Any) -> Any:
        return api.get("/v1/facets", query_string=query).get_json()

    labels = counted(by="label", limit=1)
    assert labels["values"] == [{"value": "rose", "count": 3, "filter": {"label": ["rose"]}}]
    assert (labels["by"], labels["further"], labels["images"], labels["missing"]) == ("label", 2, 6, 1)
    tags = counted(by="metadata.tags", collection="garden")
    assert [(one["value"], one["count"]) for one in tags["values"]] == [("dew", 2), ("macro", 2)]
    assert (tags["images"], tags["missing"]) == (5, 2)
    for one in tags["values"]:
        assert listed(api, one["filter"], total="true").get_json()["total"] == one["count"]
    years = counted(by="metadata.year", filter=json.dumps({"label": {"exists": True}}), collection="garden")
    assert {json.dumps(one["value"]) for one in years["values"]} == {"2020", "2021", "2022", '"2020"'}
    assert [one["value"] for one in counted(by="collection")["values"]] == ["garden", "meadow"]
    months = counted(by="created_at.month", collection="garden")
    assert months["values"][0] == {
        "value": "2026-11",
        "count": 5,
        "filter": {"created_at": {"gte": "2026-11-01T00:00:00Z", "lt": "2026-12-01T00:00:00Z"}},
    }
    assert counted(by="label", filter='{"any": []}') == {
        "by": "label",
        "values": [],
        "further": 0,
        "images": 0,
        "missing": 0,
    }


@pytest.mark.parametrize("by", ["", "size", "metadata", "created_at", "created_at.hour", "metadata.\0"])
def test_what_is_not_counted_by_is_refused(api: FlaskClient, by: str) -> None:
    assert_problem(api.get("/v1/facets", query_string={"by": by}), 422, "invalid_input")


def test_facets_of_a_collection_that_is_not_there(api: FlaskClient) -> None:
    assert_problem(api.get("/v1/facets?by=label&collection=none"), 404, "not_found")


@pytest.fixture
def client(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Umbel:
    """A client of the application itself, which the commands use, too."""
    client = Umbel("http://localhost")
    client.connection.http = httpx.Client(base_url="http://localhost", transport=httpx.WSGITransport(app))
    monkeypatch.setattr("umbel_client.Umbel", lambda: client)
    for command in ("cli.facets", "cli.search"):
        monkeypatch.setattr(f"{command}.api_client", lambda: client)
    return client


@pytest.mark.parametrize("command", re.findall(r"^umbel (.*)$", "".join(code for _, code in BLOCKS), re.MULTILINE))
def test_the_commands_of_the_page(client: Umbel, images: list[UUID], command: str) -> None:
    done = umbel_here(*shlex.split(command, comments=True))
    assert done.returncode == 0, done.stderr
    assert "6 pictures" in done.stdout or "3 pictures" in done.stdout


def test_the_python_of_the_page(client: Umbel, images: list[UUID], capsys: pytest.CaptureFixture[str]) -> None:
    [code] = [code for kind, code in BLOCKS if kind == "python"]
    exec(code, found := {})  # type: ignore[var-annotated]
    assert capsys.readouterr().out == "rose 2\ntulip 1\n3 0 0\n"
    assert {image.label for image in found["found"]} == {"tulip"}


def test_a_client_counts_and_searches_by_a_filter(client: Umbel, images: list[UUID]) -> None:
    asked = {"not": {"label": "rose"}}
    assert client.images.count(filter=asked) == 3
    assert client.images.count(filter=asked, label="iris", collection="garden") == 1
    assert {match.image_id for match in client.images.similar(images[2], filter=asked).matches} == {*images[3:]}
    done = umbel_here("similar", str(images[0]), "--filter", json.dumps(asked), "--json")
    assert len(json.loads(done.stdout)["matches"]) == 3
    assert umbel_here("facets", "--filter", "{").returncode == 2
    assert umbel_here("facets", "--filter", "[]").returncode == 2

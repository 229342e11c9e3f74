"""Collections over HTTP: created, listed, deleted; and nothing of one is ever seen in another, or once it is gone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, text
from werkzeug.test import TestResponse

from tests.images import image_bytes
from tests.integration.factory import Factory
from tests.integration.scene import add, axis, compare, comparison_line, near, photograph, version
from tests.integration.threshold import USUAL, scanned_up_to
from tests.integration.uploads import post_image
from umbel.base.blobs import blobs
from umbel.base.database import engine, transaction
from umbel.gallery.deletion import DeletionHandler
from umbel.insights.comparison import ComparisonHandler

CARD = json.loads((Path(__file__).parents[2] / "ml" / "weights" / "umbel-b0.json").read_text())

pytestmark = pytest.mark.usefixtures("database", "redis")


@pytest.fixture(scope="module")
def line(postgres: object) -> Iterator[ComparisonHandler]:
    with comparison_line() as ours:
        yield ours


def upload(api: FlaskClient, seed: int, collection: str) -> TestResponse:
    return post_image(api, image_bytes(seed), collection=collection)


def problem(answer: TestResponse) -> tuple[int, str]:
    assert answer.content_type == "application/problem+json"
    return answer.status_code, answer.get_json()["code"]


def names(api: FlaskClient, query: str = "") -> list[str]:
    return [one["name"] for one in api.get(f"/v1/collections{query}").get_json()["items"]]


def test_a_collection_is_created_once(api: FlaskClient) -> None:
    made = api.post("/v1/collections", json={"name": "garden"})
    again = api.post("/v1/collections", json={"name": "garden"})
    body = made.get_json()
    assert (made.status_code, again.status_code, again.get_json()) == (201, 200, body)
    assert (body["name"], body["images"], made.headers["Location"]) == ("garden", 0, "/v1/collections/garden")
    assert api.get(body["links"]["self"]).get_json() == body | {"calibration": None}
    upload(api, 1, "garden")
    assert api.get("/v1/collections/garden").get_json()["images"] == 1
    assert len(api.get(body["links"]["images"]).get_json()["items"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "", {}, (422, "invalid_input")),
        ("POST", "", {"name": "no spaces"}, (422, "invalid_input")),
        ("POST", "", {"name": "a\n"}, (422, "invalid_input")),
        ("POST", "", {"name": "a\x00"}, (422, "invalid_input")),
        ("POST", "", {"name": "x" * 64}, (422, "invalid_input")),
        ("POST", "", {"name": "garden", "size": 1}, (422, "invalid_input")),
        ("GET", "?limit=0", None, (422, "invalid_input")),
        ("GET", "?cursor=no%20name", None, (422, "invalid_input")),
        *(
            (method, f"/{name}", None, (404, "not_found"))
            for method in ("GET", "DELETE")
            for name in ("nowhere", "no%20spaces", "a%00", "a%0A", "%ED%A0%80", "x" * 64)
        ),
        ("PUT", "/garden", {}, (405, "method_not_allowed")),
    ],
)
def test_problems(api: FlaskClient, method: str, path: str, body: object, expected: tuple[int, str]) -> None:
    assert problem(api.open(f"/v1/collections{path}", method=method, json=body)) == expected


@pytest.mark.direct
def test_collections_are_listed_by_name_page_by_page_at_the_price_of_one_query(api: FlaskClient) -> None:
    for name in ("c", "a", "b"):
        upload(api, 1, name)
    first = api.get("/v1/collections?limit=2").get_json()
    assert [(one["name"], one["images"]) for one in first["items"]] == [("a", 1), ("b", 1)]
    seen: list[str] = []
    watch = lambda *call: seen.append(call[2])  # noqa: E731
    event.listen(engine(), "before_cursor_execute", watch)
    second = api.get(f"/v1/collections?limit=2&cursor={first['next_cursor']}").get_json()
    event.remove(engine(), "before_cursor_execute", watch)
    assert ([one["name"] for one in second["items"]], second["next_cursor"], len(seen)) == (["c"], None, 1)


def test_a_deletion_is_accepted_with_a_job_to_follow(api: FlaskClient) -> None:
    upload(api, 1, "garden")
    answer = api.delete("/v1/collections/garden")
    again = api.delete("/v1/collections/garden")
    body = answer.get_json()
    assert (answer.status_code, body["status"], again.status_code) == (202, "queued", 202)
    assert answer.headers["Location"] == body["links"]["job"] == f"/v1/jobs/{body['job_id']}"
    assert again.get_json()["job_id"] == body["job_id"]
    job = api.get(answer.headers["Location"]).get_json()
    assert (job["type"], job["status"], job["phase"]) == ("deletion", "queued", "deleting")
    for verb in ("cancel", "close"):
        assert problem(api.post(f"/v1/jobs/{body['job_id']}/{verb}")) == (409, "action_refused")
    DeletionHandler(transaction=transaction, blobs=blobs()).run()
    job = api.get(answer.headers["Location"]).get_json()
    assert (job["status"], job["phase"], job["counts"]["total"], job["counts"]["indexed"]) == ("succeeded", None, 1, 1)
    assert [one["image_id"] for one in api.get(f"/v1/jobs/{job['id']}/items").get_json()["items"]] == [None]
    assert problem(api.delete("/v1/collections/garden")) == (404, "not_found")


def test_a_deleted_collection_is_gone_at_once_and_its_name_is_free(api: FlaskClient, line: ComparisonHandler) -> None:
    of = version()
    gone = [add(of, near(axis(0), 0.01, seed), photograph(5), collection="garden", label="a") for seed in range(2)]
    kept = add(of, axis(1), photograph(1), collection="meadow")
    compare(line)
    assert len(api.get("/v1/duplicates").get_json()["items"]) == 1
    api.delete("/v1/collections/garden")

    assert (names(api), problem(api.get("/v1/collections/garden"))) == (["meadow"], (404, "not_found"))
    for path in ("", "/file", "/thumbnail", "/similar"):
        assert problem(api.get(f"/v1/images/{gone[0]}{path}")) == (404, "not_found")
    assert problem(api.patch(f"/v1/images/{gone[0]}", json={"label": "b"})) == (404, "not_found")
    assert problem(api.delete(f"/v1/images/{gone[0]}")) == (404, "not_found")
    assert [one["image_id"] for one in api.get("/v1/images").get_json()["items"]] == [str(kept)]
    assert problem(api.get("/v1/images?collection=garden")) == (404, "not_found")
    assert api.post("/v1/images:check", json={"sha256": ["0" * 64], "collection": "garden"}).get_json()["known"] == {}
    found = api.post("/v1/search", json={"vector": axis(0).tolist()}).get_json()
    assert [one["image_id"] for one in found["matches"]] == [str(kept)]
    assert problem(api.post("/v1/search", json={"image_id": str(gone[0])})) == (404, "not_found")
    for path in ("/v1/duplicates", "/v1/label-issues"):
        answer = api.get(path).get_json()
        assert (answer["items"], answer["compared"], answer["waiting"]) == ([], 1, 0)
        assert problem(api.get(f"{path}?collection=garden")) == (404, "not_found")
    in_garden = {"vector": axis(0).tolist(), "collection": "garden"}
    assert problem(api.post("/v1/search", json=in_garden)) == (404, "not_found")
    assert problem(api.post("/v1/duplicates", json={"collection": "garden"})) == (404, "not_found")
    assert api.post("/v1/duplicates", json={"again": True}).get_json()["images"] == 1
    assert 'umbel_images{collection="garden"}' not in api.get("/metrics").text

    assert upload(api, 7, "garden").status_code == 202
    assert (names(api), api.get("/v1/collections/garden").get_json()["images"]) == (["garden", "meadow"], 1)
    assert api.post("/v1/search", json=in_garden).get_json()["matches"] == []
    DeletionHandler(transaction=transaction, blobs=blobs()).run()
    assert api.get("/v1/collections/garden").get_json()["images"] == 1


def test_the_same_bytes_in_two_collections_are_two_images(api: FlaskClient) -> None:
    one, other, again = upload(api, 1, "a"), upload(api, 1, "b"), upload(api, 1, "a")
    assert (one.status_code, other.status_code, again.status_code) == (202, 202, 200)
    assert one.get_json()["image_id"] == again.get_json()["image_id"] != other.get_json()["image_id"]
    api.delete("/v1/collections/a")
    DeletionHandler(transaction=transaction, blobs=blobs()).run()
    assert api.get(f"/v1/images/{other.get_json()['image_id']}/file").status_code == 200


@pytest.fixture(params=["exact", "index"])
def tenants(request: pytest.FixtureRequest) -> Iterator[dict[str, list[str]]]:
    """Forty images in each of two collections, alternately; those of `b` are the nearer ones to axis 0, and roses."""

    def gallery(make: Factory) -> dict[str, list[str]]:
        of = make.version(card=CARD)
        made: dict[str, list[str]] = {"a": [], "b": []}
        for number in range(40):
            for name, distance, label in (("a", 0.3, "tulip"), ("b", 0.05, "rose")):
                vector = near(axis(0), distance, number)
                image_id = make.image(collection=name, vector=vector, version=of, label=label)
                made[name].append(str(image_id))
        return made

    with scanned_up_to(0 if request.param == "index" else USUAL):
        with transaction() as session:
            made = gallery(Factory(session))
        yield made


@pytest.mark.parametrize(
    "query",
    [
        lambda made: {"vector": axis(0).tolist()},
        lambda made: {"image_id": made["a"][0]},
        lambda made: {"image_id": made["b"][0]},
        lambda made: {"positive": made["b"][:3], "negative": [made["a"][0]]},
        lambda made: {"positive": made["a"][:3], "negative": [made["b"][0]], "exact": True},
        lambda made: {"vector": axis(0).tolist(), "filter": {"label": ["rose", "tulip"]}},
    ],
)
def test_a_search_of_a_collection_finds_no_others_image(
    request: pytest.FixtureRequest, api: FlaskClient, tenants: dict[str, list[str]], query: Any
) -> None:
    asked = query(tenants)
    found = api.post("/v1/search", json={**asked, "collection": "a", "k": 36}).get_json()
    if request.node.callspec.params["tenants"] == "index" and not asked.get("exact"):
        assert found["search"]["mode"] == "hnsw"
    assert {one["collection"] for one in found["matches"]} == {"a"}
    assert {one["image_id"] for one in found["matches"]} <= set(tenants["a"])
    assert len(found["matches"]) == 36


def test_only_the_collections_own_images_vote(api: FlaskClient, tenants: dict[str, list[str]]) -> None:
    body = {"image_ids": [tenants["b"][0]], "collection": "a"}
    answer = api.post("/v1/identify", json=body).get_json()
    assert {one["label"] for one in answer["results"]} == {"tulip"}
    assert {one["collection"] for one in answer["neighbors"]} == {"a"}


def test_similar_images_of_a_collection(api: FlaskClient, tenants: dict[str, list[str]]) -> None:
    found = api.get(f"/v1/images/{tenants['b'][0]}/similar?collection=a&k=40").get_json()
    assert {one["image_id"] for one in found["matches"]} == set(tenants["a"])


def test_a_deleted_collection_leaves_the_index_usable_for_the_others(
    api: FlaskClient, tenants: dict[str, list[str]]
) -> None:
    api.delete("/v1/collections/b")
    for _ in range(2):
        found = api.post("/v1/search", json={"vector": axis(0).tolist(), "k": 40}).get_json()
        assert {one["image_id"] for one in found["matches"]} == set(tenants["a"])
        DeletionHandler(transaction=transaction, blobs=blobs()).run()


def test_duplicates_and_label_issues_stay_inside_a_collection(api: FlaskClient, line: ComparisonHandler) -> None:
    of = version()
    inside: dict[str, set[UUID]] = {"a": set(), "b": set()}
    for number in range(24):
        name = "ab"[number % 2]
        label = "rose" if name == "a" else "tulip"
        inside[name].add(add(of, near(axis(0), 0.01, number), photograph(5), collection=name, label=label))
    compare(line)
    for name, images in inside.items():
        [group] = api.get(f"/v1/duplicates?collection={name}").get_json()["items"]
        assert {UUID(one["image_id"]) for one in group["images"]} == images
        # Among all of them half would doubt each label; in its own collection each agrees with its neighbors.
        assert api.get(f"/v1/label-issues?collection={name}&min_probability=0").get_json()["items"] == []
    with transaction() as session:
        rows = session.execute(text("SELECT image_id, neighbors FROM nearest_neighbors")).all()
    assert all({row[0], *row[1]} <= inside["a"] or {row[0], *row[1]} <= inside["b"] for row in rows)

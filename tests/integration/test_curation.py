"""Outliers, representatives and what to label next, over HTTP, by neighbors that a comparison has stored."""

import json
from pathlib import Path
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.integration.factory import Factory, committed
from tests.integration.scene import axis, near
from tests.integration.test_server import Api
from tests.integration.test_vector_docs import run
from umbel.base.database import transaction
from umbel.base.tables import ModelVersion
from umbel.insights.comparison import NEIGHBORS
from umbel.insights.nearest_neighbors import ComparedImage, list_nearest, upsert_nearest_neighbors
from umbel.insights.outliers import DISTANCE

pytestmark = pytest.mark.usefixtures("database")


def group(
    make: Factory, version: ModelVersion, number: int, count: int, *, spread: float = 0.05, **values: str
) -> list[UUID]:
    """So many images about an axis."""
    seeds = range(100 * number, 100 * number + count)
    return [make.image(vector=near(axis(number), spread, seed), version=version, **values) for seed in seeds]


def compared(make: Factory, version: ModelVersion) -> None:
    """What a comparison stores, without looking at pixels."""
    rows = make.session.execute(text("SELECT collection_id, array_agg(id) FROM image GROUP BY 1")).all()
    for collection_id, images in rows:
        found = list_nearest(make.session, version, collection_id, images, k=NEIGHBORS)
        upsert_nearest_neighbors(
            make.session,
            version.id,
            [
                ComparedImage(one.image_id, collection_id, one.neighbors, one.distances, [0.0] * len(one.neighbors),
                              None, None, None)
                for one in found
            ],
        )  # fmt: skip


def gallery(make: Factory) -> dict[str, list[UUID]]:
    """Two kinds whose images are neighbors of all of their kind, three foreign images that are alike; and one alone."""
    version = make.version()
    found = {
        "roses": group(make, version, 0, NEIGHBORS + 1, label="rose"),
        "tulips": group(make, version, 1, NEIGHBORS + 1),
        "foreign": group(make, version, 5, 3, spread=0.02, label="rose"),
        "alone": group(make, version, 6, 1, collection="other"),
    }
    compared(make, version)
    return found


def listed(api: FlaskClient, path: str, **query: object) -> list[UUID]:
    answer = api.get(path, query_string=query)
    assert answer.status_code == 200, answer.text
    return [UUID(one["image_id"]) for one in answer.get_json()["items"]]


def test_foreign_images_are_the_outliers_although_they_are_alike(api: FlaskClient) -> None:
    images = committed(gallery)
    body = api.get("/v1/outliers?limit=4").get_json()
    assert {UUID(one["image_id"]) for one in body["items"][:3]} == set(images["foreign"])
    first, *_, last = body["items"]
    assert (first["assessment"], last["assessment"]) == ("like nothing else here", "as usual")
    assert first["times_usual"] == pytest.approx(first["distance"] / first["usual"], abs=1e-3)
    assert (body["compared"], body["waiting"]) == (38, 0)


def test_outliers_come_a_page_at_a_time_and_behind_a_filter(api: FlaskClient) -> None:
    images = committed(gallery)
    whole = listed(api, "/v1/outliers", limit=500)
    assert len(whole) == 37, "an image alone has nothing that it is unlike"
    paged, cursor = list[UUID](), ""
    while cursor is not None:
        page = api.get("/v1/outliers", query_string={"limit": 10, **({"cursor": cursor} if cursor else {})}).get_json()
        paged += [UUID(one["image_id"]) for one in page["items"]]
        cursor = page["next_cursor"]
    assert paged == whole
    unlabelled = json.dumps({"label": {"exists": False}})
    assert set(listed(api, "/v1/outliers", filter=unlabelled)) == set(images["tulips"])
    assert api.get("/v1/outliers?cursor=3_a").status_code == 422


def test_outliers_are_read_from_their_index() -> None:
    with transaction() as session:
        session.execute(text("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off"))
        plan = session.scalars(
            text(f"""
                EXPLAIN SELECT n.image_id FROM nearest_neighbors n
                WHERE n.model_version_id = uuidv7() AND n.collection_id = uuidv7() AND {DISTANCE} IS NOT NULL
                ORDER BY {DISTANCE} DESC, n.image_id DESC
            """)
        )
        assert "nearest_neighbors_by_outlier" in "\n".join(plan)


def test_representatives_stand_for_each_kind(api: FlaskClient) -> None:
    images = committed(gallery)
    body = api.get("/v1/representatives?collection=default&limit=3").get_json()
    chosen = [UUID(one["image_id"]) for one in body["items"]]
    kinds = [name for one in chosen for name, some in images.items() if one in some]
    assert (sorted(kinds[:2]), kinds[2]) == (["roses", "tulips"], "foreign")
    assert [one["stands_for"] for one in body["items"]] == [17, 17, 3]
    assert (body["considered"], body["coverage"] > 0.8) == (37, True)
    assert listed(api, "/v1/representatives", collection="default", limit=2) == chosen[:2]
    assert listed(api, "/v1/representatives", collection="other") == images["alone"]
    tulips = json.dumps({"label": {"exists": False}})
    assert set(listed(api, "/v1/representatives", limit=2, filter=tulips)) <= {*images["tulips"], *images["alone"]}


def test_what_to_label_next_goes_by_the_labels_as_they_are_now(api: FlaskClient) -> None:
    images = committed(gallery)
    query = {"collection": "default", "limit": 1}
    [first] = api.get("/v1/label-next", query_string=query).get_json()["items"]
    assert UUID(first["image_id"]) in images["tulips"]
    assert (first["stands_for"], first["label"]) == (17, None)
    assert api.patch(f"/v1/images/{first['image_id']}", json={"label": "tulip"}).status_code == 200
    body = api.get("/v1/label-next", query_string=query).get_json()
    [second] = body["items"]
    assert second["image_id"] != first["image_id"]
    assert (second["suggested_label"], second["confidence"] > 0.7) == ("tulip", True)
    assert (body["labelled"], body["unlabelled"]) == (21, 16)


def test_nothing_compared_is_nothing_listed(api: FlaskClient) -> None:
    committed(lambda make: group(make, make.version(), 0, 3))
    for path in ("/v1/outliers", "/v1/representatives", "/v1/label-next"):
        body = api.get(path).get_json()
        assert (body["items"], body["compared"], body["waiting"]) == ([], 0, 3)
        assert api.get(path, query_string={"collection": "nowhere"}).status_code == 404


def test_the_commands_and_the_client_do_as_the_page_says(server: Api, tmp_path: Path) -> None:
    def garden(make: Factory) -> UUID:
        version = make.version()
        group(make, version, 0, 8, label="rose", collection="garden")
        tulips = group(make, version, 1, 8, collection="garden")
        compared(make, version)
        return tulips[0]

    printed = run("curation.md", server, tmp_path, str(committed(garden)))
    assert "as usual" in printed
    assert "10 stand for 16" in printed
    assert "8 have a label, 8 have none." in printed

"""The recall of the index is measured against exact searches, kept and shown."""

from dataclasses import replace
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from tests.integration.factory import DIM, Factory, unit
from umbel.base.database import engine, transaction
from umbel.base.settings import settings
from umbel.models import partitions
from umbel.search import recall
from umbel.search.nearest import nearest_images

pytestmark = pytest.mark.usefixtures("database", "redis")


def gallery(images: int) -> Any:
    with transaction() as session:
        make = Factory(session)
        version = make.version()
        for seed in range(images):
            make.image(vector=unit(seed), version=version)
        return version


def test_a_sound_index_finds_what_an_exact_search_finds(api: FlaskClient) -> None:
    gallery(60)
    answer = api.post("/v1/admin/recall", json={"k": 5, "sample": 20}).get_json()
    assert (answer["k"], answer["sample"], answer["ef_search"]) == (5, 20, 64)
    assert answer["recall"] > 0.95  # pgvector builds its graphs with a random hand
    assert answer["ef_for_95"] == 40
    assert [step["ef_search"] for step in answer["steps"]] == [40, 64, 80, 120, 200, 320, 500, 1000]


def test_what_the_index_misses_counts(api: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery(60)

    def forgetful(*args: Any, only_ef: int | None = None, **options: Any) -> Any:
        found = nearest_images(*args, only_ef=only_ef, **options)
        return found if only_ef is None else replace(found, matches=found.matches[1:])

    monkeypatch.setattr(recall, "nearest_images", forgetful)
    answer = api.post("/v1/admin/recall", json={"k": 5, "sample": 20}).get_json()
    assert 0.7 < answer["recall"] <= 0.8
    assert (answer["ef_for_95"], answer["ef_for_99"]) == (None, None)


def test_what_was_measured_is_listed_newest_first_and_shown_to_prometheus(api: FlaskClient) -> None:
    gallery(30)
    made = [api.post("/v1/admin/recall", json={"k": k, "sample": 3}).get_json()["id"] for k in (3, 7, 3)]
    first = api.get("/v1/admin/recall?limit=2").get_json()
    rest = api.get(f"/v1/admin/recall?limit=2&cursor={first['next_cursor']}").get_json()
    assert [item["id"] for item in first["items"] + rest["items"]] == made[::-1]
    lines = api.get("/metrics").text.splitlines()
    shown = {line.split()[0] for line in lines if line.startswith("umbel_index_recall{")}
    assert shown == {'umbel_index_recall{k="3"}', 'umbel_index_recall{k="7"}'}


def test_time_that_is_over_ends_it_with_what_there_is() -> None:
    gallery(30)
    assert recall.measure_recall(transaction, k=3, sample=30, seconds=0).sample == 1


def test_a_collection_is_measured_by_itself(api: FlaskClient) -> None:
    version = gallery(60)
    with transaction() as session:
        for seed in range(100, 130):
            Factory(session, start=seed).image(vector=unit(seed), version=version, collection="apart")
    answer = api.post("/v1/admin/recall", json={"k": 5, "sample": 50, "collection": "apart"}).get_json()
    assert (answer["collection"], answer["sample"], answer["ef_search"]) == ("apart", 30, 300)
    assert answer["recall"] > 0.95
    assert "umbel_index_recall{" not in api.get("/metrics").text  # which is of the whole gallery
    assert api.post("/v1/admin/recall", json={"collection": "nowhere"}).status_code == 404
    assert api.post("/v1/admin/recall", json={"sample": 1}).get_json()["collection"] is None


def test_images_that_come_and_go_meanwhile_neither_raise_nor_lower_it(api: FlaskClient) -> None:
    """Each search through the index is compared with what was exact for the same images."""
    version = gallery(60)
    with psycopg.connect(settings().database.replace("+psycopg", ""), autocommit=True) as other:

        def change(*told: Any) -> None:
            if "search_images" in told[2]:
                other.execute("DELETE FROM image WHERE id IN (SELECT id FROM image ORDER BY random() LIMIT 2)")
                other.execute(
                    """
                    WITH come AS (
                        INSERT INTO image (collection_id, sha256, blob_key, media_type, size, width, height)
                        SELECT id, sha256(random()::text::bytea), '-', 'image/jpeg', 1, 1, 1
                        FROM collection, generate_series(1, 2) RETURNING id, collection_id
                    )
                    INSERT INTO embedding (model_version_id, image_id, collection_id, vector)
                    SELECT %s, id, collection_id, l2_normalize(vector::halfvec) FROM (
                        SELECT id, collection_id, array_agg(random() - 0.5) AS vector
                        FROM come, generate_series(1, %s) GROUP BY id, collection_id) random
                    """,
                    [version.id, DIM],
                )

        event.listen(engine(), "before_cursor_execute", change)
        try:
            answer = api.post("/v1/admin/recall", json={"k": 5, "sample": 15})
        finally:
            event.remove(engine(), "before_cursor_execute", change)
    assert answer.status_code == 200, answer.text
    assert 0.97 < answer.get_json()["steps"][-1]["recall"] <= 1
    assert answer.get_json()["sample"] == 15


@pytest.mark.parametrize("images", [0, 1])
def test_a_gallery_with_nothing_to_find_is_a_conflict(api: FlaskClient, images: int) -> None:
    gallery(images)
    answer = api.post("/v1/admin/recall", json={})
    assert (answer.status_code, answer.get_json()["code"]) == (409, "conflict")


def test_while_the_index_is_left_out_there_is_none_to_measure(api: FlaskClient) -> None:
    version = gallery(10)
    with transaction() as session:
        partitions.drop_index(session, version.id)
    answer = api.post("/v1/admin/recall", json={})
    assert (answer.status_code, "no index" in answer.get_json()["detail"]) == (409, True)

"""The recall of the index is measured against exact searches, kept and shown."""

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.integration.factory import Factory, unit
from umbel.base.database import transaction
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

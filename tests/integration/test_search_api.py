"""Searching and identifying over HTTP, in a gallery of vectors; no worker, so no pictures to search by."""

import io
import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.images import image_bytes
from tests.integration.callers import UNUSED_ID
from tests.integration.factory import Factory, committed, unit
from umbel.base.database import transaction
from umbel.base.types import Box
from umbel.embedding import query_images
from umbel.embedding.query_images import Picture
from umbel.models import versions

FORM = "multipart/form-data"
CARD = json.loads((Path(__file__).parents[2] / "ml" / "weights" / "umbel-b0.json").read_text())

pytestmark = pytest.mark.usefixtures("database", "redis")


def assert_problem(answer: TestResponse, status: int, code: str) -> None:
    body = answer.get_json()
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert (body["status"], body["code"], bool(body["detail"])) == (status, code, True)


def test_search_by_vector_and_by_image(api: FlaskClient) -> None:
    def gallery(make: Factory) -> list[UUID]:
        version = make.version()
        return [make.image(vector=unit(n), version=version, label=f"label-{n}") for n in range(5)]

    ids = [str(image_id) for image_id in committed(gallery)]
    found = api.post("/v1/search", json={"vector": unit(3).tolist(), "k": 2}).get_json()
    assert (found["matches"][0]["image_id"], found["matches"][0]["label"]) == (ids[3], "label-3")
    assert found["matches"][0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert {key: found["search"][key] for key in ("mode", "requested", "returned", "exhausted")} == {
        "mode": "exact",
        "requested": 2,
        "returned": 2,
        "exhausted": False,
    }
    by_image = api.post("/v1/search", json={"image_id": ids[3], "k": 10}).get_json()
    similar = api.get(f"/v1/images/{ids[3]}/similar?k=10").get_json()
    assert [m["image_id"] for m in by_image["matches"]] == [m["image_id"] for m in similar["matches"]]
    assert ids[3] not in [m["image_id"] for m in similar["matches"]]
    labelled = api.post("/v1/search", json={"vector": unit(3).tolist(), "filter": {"label": ["label-1"]}}).get_json()
    assert [m["image_id"] for m in labelled["matches"]] == [ids[1]]


def test_answers_have_names_and_where_asked_for_vectors(api: FlaskClient) -> None:
    def gallery(make: Factory) -> UUID:
        version = make.version()
        make.image(vector=unit(1), version=version, name="roses/1.jpg")
        return make.image(vector=unit(2), version=version)

    image_id = committed(gallery)
    plain = api.post("/v1/search", json={"vector": unit(1).tolist()}).get_json()["matches"]
    assert [match["name"] for match in plain] == ["roses/1.jpg", None]
    assert "vector" not in plain[0]
    assert "vector" not in api.get(f"/v1/images/{image_id}").get_json()
    nearest = {"vector": unit(1).tolist(), "k": 1, "with": ["vector"]}
    for answer in (
        api.post("/v1/search", json=nearest),
        api.get(f"/v1/images/{image_id}/similar?k=1&with=vector"),
    ):
        [match] = answer.get_json()["matches"]
        assert np.array_equal(match["vector"], unit(1))
    assert np.array_equal(api.get(f"/v1/images/{image_id}?with=vector").get_json()["vector"], unit(2))


@pytest.mark.parametrize("asked", ["caf\u00e9", "cafe\u0301"])
def test_a_label_is_found_in_either_of_its_forms(api: FlaskClient, asked: str) -> None:
    committed(lambda make: make.image(vector=unit(1), version=make.version(), label="caf\u00e9"))
    found = api.post("/v1/search", json={"vector": unit(1).tolist(), "filter": {"label": [asked]}}).get_json()
    assert [match["label"] for match in found["matches"]] == ["caf\u00e9"]


def test_an_image_that_waits_for_its_vector_is_a_conflict_that_passes(api: FlaskClient) -> None:
    def waiting(make: Factory) -> UUID:
        make.version()
        make.item(make.job())
        return make.session.execute(text("SELECT image_id FROM job_item")).scalar_one()

    image_id = str(committed(waiting))
    for answer in (
        api.get(f"/v1/images/{image_id}/similar"),
        api.post("/v1/search", json={"image_id": image_id}),
        api.post("/v1/search", json={"positive": [image_id]}),
        api.post("/v1/identify", json={"image_id": image_id}),
        api.get(f"/v1/images/{image_id}?with=vector"),
    ):
        assert_problem(answer, 409, "not_embedded")
        assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"image_id": UNUSED_ID, "vector": [1.0]},
        {"vector": [1.0]},
        {"vector": ["a"]},
        {"vector": [1.0] * 8, "k": 0},
        {"vector": [1.0] * 8, "k": 1001},
        {"vector": [1.0] * 8, "max_distance": 3},
        {"vector": [1.0] * 8, "filter": {"lable": ["x"]}},
        {"vector": [1.0] * 8, "filter": {"label": ["\x00"]}},
        {"image": "not base64!"},
        {"vector": [1.0] * 8, "negative": [UNUSED_ID]},
        {"positive": []},
        {"positive": [UNUSED_ID], "image_id": UNUSED_ID},
        {"vector": [1.0] * 8, "filter": {"metadata": {"year": {"$near": 1}}}},
        {"vector": [1.0] * 8, "filter": {"metadata": {"year": {"$gt": [1]}}}},
        {"vector": [1.0] * 8, "with": ["pixels"]},
        [],
        7,
    ],
)
def test_a_search_that_makes_no_sense_is_refused(api: FlaskClient, body: object) -> None:
    committed(lambda make: make.version())
    assert_problem(api.post("/v1/search", json=body), 422, "invalid_input")


def test_a_search_in_an_unknown_collection_is_not_found(api: FlaskClient) -> None:
    committed(lambda make: make.version())
    assert_problem(api.post("/v1/search", json={"vector": [1.0] * 8, "collection": "none"}), 404, "not_found")


def test_more_like_these_less_like_those(api: FlaskClient) -> None:
    def gallery(make: Factory) -> list[UUID]:
        version = make.version()
        return [make.image(vector=unit(n), version=version) for n in range(6)]

    ids = [str(image_id) for image_id in committed(gallery)]
    found = api.post("/v1/search", json={"positive": ids[:2], "negative": [ids[2]]}).get_json()
    direction = unit(0) + unit(1) - unit(2)
    expected = sorted(range(3, 6), key=lambda n: -float(unit(n) @ direction))
    assert [match["image_id"] for match in found["matches"]] == [ids[n] for n in expected]


def test_metadata_is_filtered_by_operators(api: FlaskClient) -> None:
    def gallery(make: Factory) -> None:
        version = make.version()
        for year in range(2018, 2026):
            make.image(vector=unit(year), version=version, meta={"year": year})

    committed(gallery)
    asked = {"vector": unit(1).tolist(), "filter": {"metadata": {"year": {"$gte": 2020, "$lt": 2023}}}}
    found = api.post("/v1/search", json=asked).get_json()
    assert sorted(match["metadata"]["year"] for match in found["matches"]) == [2020, 2021, 2022]


def test_similar_takes_a_label_and_exact(api: FlaskClient) -> None:
    def gallery(make: Factory) -> list[UUID]:
        version = make.version()
        return [make.image(vector=unit(n), version=version, label=f"label-{n}") for n in range(5)]

    ids = [str(image_id) for image_id in committed(gallery)]
    found = api.get(f"/v1/images/{ids[0]}/similar?label=label-1&exact=true").get_json()
    assert {match["label"] for match in found["matches"]} == {"label-1"}


def kinds(make: Factory) -> dict[str, list[UUID]]:
    """Two kinds, five images of each close together, and two images without a label."""
    version = make.version(card=CARD)
    made: dict[str, list[UUID]] = {"rose": [], "tulip": [], "": []}
    for label, images in made.items():
        for n in range(5 if label else 2):
            near = unit(len(label)) + 0.05 * unit(100 + n + len(label))
            vector = (near / np.linalg.norm(near)).astype(np.float32)
            images.append(make.image(vector=vector, version=version, label=label or None))
    return made


def test_an_image_is_identified_by_its_labelled_neighbors(api: FlaskClient) -> None:
    made = committed(kinds)
    answer = api.post("/v1/identify", json={"image_id": str(made["rose"][0])}).get_json()
    first = answer["results"][0]
    assert (answer["best"], answer["unknown"], first["label"]) == ("rose", False, "rose")
    assert set(first["evidence"]) == {str(image_id) for image_id in made["rose"][1:]}
    assert answer["threshold"] <= first["score"] <= 1
    assert {match["label"] for match in answer["neighbors"]} == {"rose", "tulip"}


def test_what_is_like_nothing_in_the_gallery_is_unknown(api: FlaskClient) -> None:
    committed(kinds)

    with transaction() as session:
        make = Factory(session, start=1000)
        version = versions.get_active_version(session)
        image_id = make.image(vector=-unit(len("rose")), version=version, collection="strangers")
    answer = api.post("/v1/identify", json={"image_ids": [str(image_id)]}).get_json()
    assert (answer["best"], answer["unknown"]) == (None, True)
    assert answer["results"][0]["score"] < answer["threshold"]


def test_a_collection_without_labels_knows_nothing(api: FlaskClient) -> None:
    made = committed(kinds)
    committed(lambda make: make.collection("bare"))
    answer = api.post("/v1/identify", json={"image_ids": [str(made["rose"][0])], "collection": "bare"}).get_json()
    assert (answer["best"], answer["unknown"], answer["results"]) == (None, True, [])


def test_several_images_of_one_subject_vote_together(api: FlaskClient) -> None:
    made = committed(kinds)
    asked = [str(image_id) for image_id in made["tulip"][:3]]
    answer = api.post("/v1/identify", json={"image_ids": asked}).get_json()
    assert answer["best"] == "tulip"
    assert len(answer["neighbors"]) == 3 * 7  # each of the three asks all labelled images but the three
    assert not {match["image_id"] for match in answer["neighbors"]} & set(asked)


def test_without_a_calibration_the_votes_are_counted_and_nothing_is_called_unknown(api: FlaskClient) -> None:
    def gallery(make: Factory) -> UUID:
        version = make.version()
        make.image(vector=unit(2), version=version, label="rose")
        return make.image(vector=unit(1), version=version)

    answer = api.post("/v1/identify", json={"image_ids": [str(committed(gallery))]}).get_json()
    assert (answer["best"], answer["unknown"], answer["threshold"]) == ("rose", None, None)
    assert (answer["results"][0]["score"], answer["calibration"]["source"]) == (1, "none")
    assert "has no calibration" in answer["calibration"]["note"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"image_ids": []},
        {"image_ids": [UNUSED_ID] * 6},
        {"images": ["???"]},
        {"image_ids": [UNUSED_ID], "images": ["a"]},
        {"image_ids": [UNUSED_ID], "image_id": UNUSED_ID},
    ],
)
def test_an_identification_that_makes_no_sense_is_refused(api: FlaskClient, body: object) -> None:
    committed(lambda make: make.version(card=CARD))
    assert_problem(api.post("/v1/identify", json=body), 422, "invalid_input")


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[Picture]:
    """What a worker was asked to embed; it answered with a vector that depends on the picture's length."""
    seen: list[Picture] = []
    leave = query_images.insert_queries

    def leave_and_answer(images: Mapping[UUID, Picture]) -> None:
        leave(images)
        asked = query_images.claim_queries(len(images))
        assert asked.version_id is not None
        seen.extend(asked.images.values())
        vectors = {one: unit(len(picture.image)) for one, picture in asked.images.items()}
        query_images.answer_queries(asked.version_id, vectors)

    monkeypatch.setattr(query_images, "insert_queries", leave_and_answer)
    return seen


@pytest.mark.usefixtures("asked_for")
def test_pictures_are_embedded_and_not_kept(api: FlaskClient) -> None:
    version = committed(lambda make: make.version())
    pictures = [image_bytes(seed) for seed in (1, 2)]
    expected = {"vectors": [unit(len(data)).tolist() for data in pictures], "dim": 8, "model_version": str(version.id)}
    for answer in (
        api.post("/v1/embed", json={"images": [b64encode(data).decode() for data in pictures]}),
        api.post("/v1/embed", data={"file": [(io.BytesIO(data), "a.jpg") for data in pictures]}, content_type=FORM),
    ):
        found = answer.get_json()
        assert found.pop("took_ms") > 0
        assert found == expected
    assert api.get("/v1/images").get_json()["items"] == []


def test_a_part_of_a_picture_or_image_is_embedded_for_its_search(api: FlaskClient, asked_for: list[Picture]) -> None:
    def gallery(make: Factory) -> list[UUID]:
        version = make.version()
        return [make.image(vector=unit(n), version=version, label="rose") for n in range(3)]

    data, box = image_bytes(1), [0.25, 0, 0.5, 1]
    text, image_id = b64encode(data).decode(), str(committed(gallery)[1])
    uploaded, stored = Picture(data, Box(*box)), Picture("pictures/3", Box(*box))
    for path, sent, expected in (
        ("/v1/search", {"json": {"image": text, "box": box}}, uploaded),
        ("/v1/search", {"json": {"image_id": image_id, "box": box}}, stored),
        ("/v1/search", {"data": {"file": (io.BytesIO(data), "a"), "box": "0.25,0,0.5,1"}}, uploaded),
        ("/v1/search", {"data": {"file": (io.BytesIO(data), "a"), "box": json.dumps(box)}}, uploaded),
        ("/v1/identify", {"json": {"images": [text], "box": box}}, uploaded),
        ("/v1/identify", {"json": {"image_id": image_id, "box": box}}, stored),
        ("/v1/identify", {"data": {"file": (io.BytesIO(data), "a"), "box": " [.25, 0, .5, 1] "}}, uploaded),
    ):
        answer = api.post(path, **sent)
        assert answer.status_code == 200, answer.text
        assert asked_for.pop() == expected
        found = answer.get_json()
        matched = {match["image_id"] for match in found.get("matches") or found["neighbors"]}
        assert (image_id in matched) is (expected is uploaded)
        assert len(matched) == (3 if expected is uploaded else 2)
    assert_problem(api.post("/v1/search", json={"image_id": UNUSED_ID, "box": box}), 404, "not_found")
    assert asked_for == []


@pytest.mark.parametrize("stored", [True, False])
def test_pages_of_a_search_by_a_part_embed_it_once(api: FlaskClient, asked_for: list[Picture], stored: bool) -> None:
    def gallery(make: Factory) -> list[str]:
        version = make.version()
        return [str(make.image(vector=unit(n), version=version)) for n in range(4)]

    ids, box = committed(gallery), [0, 0, 1, 0.5]
    sent = {"image_id": ids[1]} if stored else {"image": b64encode(image_bytes(1)).decode()}
    first = api.post("/v1/search", json={**sent, "box": box, "k": 2}).get_json()
    again = {"image_id": ids[1]} if stored else {}
    following = {**again, "box": box, "cursor": first["next_cursor"]}
    second = api.post("/v1/search", json=following).get_json()
    found = [match["image_id"] for match in (*first["matches"], *second["matches"])]
    assert sorted(found) == sorted(set(ids) - ({ids[1]} if stored else set()))
    assert len(asked_for) == 1
    for other in ({"box": [0, 0, 1, 1]}, {"box": None}, {"image_id": ids[2]}):
        assert_problem(api.post("/v1/search", json={**following, **other}), 422, "cursor_mismatch")


def test_parts_in_a_batch_are_embedded_together(api: FlaskClient, asked_for: list[Picture]) -> None:
    def gallery(make: Factory) -> list[str]:
        version = make.version()
        return [str(make.image(vector=unit(n), version=version)) for n in range(3)]

    ids, box = committed(gallery), [0, 0, 1, 0.5]
    asked = [{"image_id": image_id, "box": box} for image_id in (ids[0], UNUSED_ID, ids[2])]
    first, missing, third = api.post("/v1/search:batch", json={"queries": asked}).get_json()["answers"]
    assert {picture.image for picture in asked_for} == {"pictures/2", "pictures/4"}
    assert (missing["status"], missing["code"]) == (404, "not_found")
    assert [{match["image_id"] for match in one["matches"]} for one in (first, third)] == [{*ids[1:]}, {*ids[:2]}]


@pytest.mark.parametrize(
    "box",
    [
        [0, 0, 1], [0, 0, 1, 1, 1], [-0.1, 0, 0.5, 0.5], [0, 0, 0, 1], [0, 0, 1, 0], [0.6, 0, 0.5, 1],
        [0, 0.6, 1, 0.5], [0, 0, 1, 1.1], ["a", 0, 1, 1], "0,0,1,1", {}, 1, [0, 0, 1e999, 1],
    ],
)  # fmt: skip
def test_a_box_that_makes_no_sense_is_refused(api: FlaskClient, box: object) -> None:
    image_id = str(committed(lambda make: make.image(vector=unit(1), version=make.version())))
    assert_problem(api.post("/v1/search", json={"image_id": image_id, "box": box}), 422, "invalid_input")


def test_a_box_belongs_to_one_picture_and_the_active_model(api: FlaskClient) -> None:
    version = committed(lambda make: make.version())
    box, data = [0, 0, 1, 0.5], b64encode(image_bytes(1)).decode()
    for path, sent in (
        ("/v1/search", {"vector": unit(1).tolist()}),
        ("/v1/search", {"positive": [UNUSED_ID]}),
        ("/v1/search", {"images": [data] * 2}),
        ("/v1/search", {"image_id": UNUSED_ID, "model_version": str(version.id)}),
        ("/v1/identify", {"image_ids": [UNUSED_ID] * 2}),
        ("/v1/identify", {"images": [data] * 2}),
    ):
        assert_problem(api.post(path, json={**sent, "box": box}), 422, "invalid_input")
    for path, form in (
        ("/v1/search", {"file": (io.BytesIO(b"."), "a"), "box": "0,0,1"}),
        ("/v1/search", {"file": (io.BytesIO(b"."), "a"), "box": "nan,0,1,1"}),
        ("/v1/identify", {"file": [(io.BytesIO(b"."), "a"), (io.BytesIO(b"."), "b")], "box": "0,0,1,1"}),
    ):
        assert_problem(api.post(path, data=form), 422, "invalid_input")


def test_what_cannot_be_embedded_is_refused(api: FlaskClient) -> None:
    committed(lambda make: make.version())
    picture = b64encode(image_bytes(1)).decode()
    for body in ({}, {"images": []}, {"images": [picture] * 17}, {"images": ["!"]}):
        assert_problem(api.post("/v1/embed", json=body), 422, "invalid_input")
    broken = api.post("/v1/embed", json={"images": [picture, b64encode(b"no picture").decode()]})
    assert_problem(broken, 415, "unsupported_image")


def test_an_identification_without_a_file_is_refused(api: FlaskClient) -> None:
    assert_problem(api.post("/v1/identify", data={"collection": "default"}, content_type=FORM), 422, "invalid_input")

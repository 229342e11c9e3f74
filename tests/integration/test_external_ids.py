"""Images under their senders' own ids: one of a collection, its picture replaced, and nothing lost in a race."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.images import image_bytes
from tests.integration.factory import Factory, committed, unit
from tests.integration.uploads import post_image
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.embedding import embeddings
from umbel.gallery import blob_cleanups
from umbel.operations.maintenance import tidy_blobs

pytestmark = pytest.mark.usefixtures("database")


def sent(api: FlaskClient, number: int, external_id: str | None, **form: object) -> tuple[int, dict[str, Any]]:
    """Status and answer of an upload of the picture with this number."""
    own = {} if external_id is None else {"external_id": external_id}
    answer = post_image(api, image_bytes(number), **own, **form)
    return answer.status_code, answer.get_json()


def image(api: FlaskClient, image_id: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/v1/images/{image_id}").get_json()
    return found


def under(api: FlaskClient, external_id: str) -> list[str]:
    answer = api.get("/v1/images", query_string={"external_id": external_id, "total": True}).get_json()
    assert answer["total"] == len(answer["items"])
    return [each["image_id"] for each in answer["items"]]


def test_an_image_has_its_external_id_and_name_from_its_upload_on(api: FlaskClient) -> None:
    status, accepted = sent(api, 1, "sku-1", name="one.jpg", label="rose", metadata='{"year": 1}')
    sent(api, 2, None)
    assert status == 202
    assert under(api, "sku-1") == [accepted["image_id"]]
    found = image(api, accepted["image_id"])
    assert (found["external_id"], found["name"], found["replaced_at"]) == ("sku-1", "one.jpg", None)
    assert sent(api, 3, "x" * 501)[0] == sent(api, 3, "")[0] == 422


def test_the_same_id_in_another_collection_is_another_image(api: FlaskClient) -> None:
    first, second = sent(api, 1, "a")[1], sent(api, 2, "a", collection="other")[1]
    assert set(under(api, "a")) == {first["image_id"], second["image_id"]}


def test_other_bytes_replace_the_picture_and_what_was_made_of_it(api: FlaskClient) -> None:
    version = committed(lambda make: make.version())
    _, first = sent(api, 1, "a", name="one.jpg", label="rose", metadata='{"year": 1}')
    image_id = UUID(first["image_id"])
    key = blob_cleanups.blob_key("default", sha256(image_bytes(1)).digest())
    with transaction() as session:
        place = session.scalars(text("SELECT collection_id FROM image")).one()
        embeddings.upsert_embeddings(session, version.id, [(image_id, place)], unit(1)[None])
    thumbnail = api.get(f"/v1/images/{image_id}/thumbnail")

    status, second = sent(api, 2, "a", name="two.jpg", metadata='{"month": 2}')
    assert (status, second["image_id"]) == (202, str(image_id))
    assert second["job_id"] != first["job_id"]
    found = image(api, str(image_id))
    assert (found["sha256"], found["name"]) == (sha256(image_bytes(2)).hexdigest(), "two.jpg")
    assert (found["label"], found["metadata"]) == ("rose", {"month": 2})
    assert found["status"] == "pending"
    assert found["replaced_at"] is not None
    assert api.get(f"/v1/jobs/{first['job_id']}").get_json()["status"] == "cancelled"
    seen = {"If-None-Match": thumbnail.headers["ETag"]}
    assert thumbnail.headers["Cache-Control"] == "private, no-cache"
    assert api.get(f"/v1/images/{image_id}/thumbnail", headers=seen).status_code == 200
    assert api.post("/v1/search", json={"vector": unit(1).tolist()}).get_json()["matches"] == []

    # A worker that had begun with the former picture stores nothing of it.
    with transaction() as session:
        embeddings.upsert_embeddings(session, version.id, [(image_id, place)], unit(1)[None], made_of=[key])
    assert image(api, str(image_id))["status"] == "pending"
    with transaction() as session:
        session.execute(text("UPDATE pending_blob_cleanup SET since = '-infinity'"))
    tidy_blobs(transaction, blobs())
    assert not blobs().exists(key)
    assert blobs().exists(blob_cleanups.blob_key("default", sha256(image_bytes(2)).digest()))
    assert sent(api, 1, None)[0] == 202  # the former bytes are new again


def test_the_same_bytes_change_only_what_is_said_of_the_image(api: FlaskClient) -> None:
    _, first = sent(api, 1, "a", name="one.jpg", label="rose", metadata='{"year": 1}')
    assert sent(api, 1, "a", label="tulip") == (200, {**first, "status": "duplicate"})
    found = image(api, first["image_id"])
    assert (found["label"], found["metadata"], found["replaced_at"]) == ("tulip", {"year": 1}, None)


def test_bytes_that_are_there_without_an_id_get_it(api: FlaskClient) -> None:
    _, first = sent(api, 1, None, label="rose")
    assert sent(api, 1, "a") == (200, {**first, "status": "duplicate"})
    assert image(api, first["image_id"])["external_id"] == "a"
    assert sent(api, 1, None)[0] == 200
    assert image(api, first["image_id"])["external_id"] == "a"


def test_bytes_of_another_image_are_refused(api: FlaskClient) -> None:
    sent(api, 1, "a")
    sent(api, 2, "b")
    sent(api, 3, None)
    for number, external_id in ((1, "new"), (2, "a"), (3, "a")):
        status, problem = sent(api, number, external_id)
        assert (status, problem["code"]) == (409, "external_id_taken")
    assert len(api.get("/v1/images").get_json()["items"]) == 3
    job_id = api.post("/v1/imports", json={"source": {"type": "upload"}}).get_json()["job_id"]
    sent(api, 2, "a", job_id=job_id)
    (item,) = api.get(f"/v1/jobs/{job_id}/items").get_json()["items"]
    assert (item["status"], item["error_code"]) == ("failed", "external_id_taken")


def test_an_id_is_given_and_taken_away_by_patch(api: FlaskClient) -> None:
    one, other = sent(api, 1, None)[1]["image_id"], sent(api, 2, "b")[1]["image_id"]
    changed = api.patch(f"/v1/images/{one}", json={"external_id": "a"})
    assert (changed.status_code, changed.get_json()["external_id"]) == (200, "a")
    assert api.patch(f"/v1/images/{one}", json={"external_id": "a"}).status_code == 200
    refused = api.patch(f"/v1/images/{other}", json={"external_id": "a", "label": "rose"})
    assert (refused.status_code, refused.get_json()["code"]) == (409, "external_id_taken")
    assert image(api, other)["label"] is None
    assert api.patch(f"/v1/images/{one}", json={"external_id": None}).get_json()["external_id"] is None
    assert api.patch(f"/v1/images/{other}", json={"external_id": "a"}).status_code == 200


def test_a_larger_picture_needs_room_in_the_quota(api: FlaskClient) -> None:
    small, large = image_bytes(1, size=(32, 32)), image_bytes(2, size=(400, 400))
    accepted = post_image(api, small, external_id="a").get_json()
    api.patch("/v1/collections/default", json={"max_bytes": len(small) + 10, "max_images": 1})
    assert post_image(api, large, external_id="a").get_json()["code"] == "quota_exceeded"
    api.patch("/v1/collections/default", json={"max_bytes": len(large)})
    assert post_image(api, large, external_id="a").status_code == 202
    with transaction() as session:
        assert session.execute(text("SELECT used_images, used_bytes FROM collection")).one() == (1, len(large))
    assert image(api, accepted["image_id"])["size"] == len(large)


def test_uploads_of_one_id_at_once_are_one_image_with_the_last_picture(app: Flask, api: FlaskClient) -> None:
    """Each of them was accepted; all but one were replaced by a later one, and none left a row or a vector behind."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: sent(app.test_client(), number, "a"), range(12)))
    assert {status for status, _ in answers} == {202}
    assert len({answer["image_id"] for _, answer in answers}) == 1
    (image_id,) = under(api, "a")
    pictures = {sha256(image_bytes(number)).hexdigest() for number in range(12)}
    assert image(api, image_id)["sha256"] in pictures
    with transaction() as session:
        states = session.scalars(text("SELECT state FROM job_item ORDER BY state")).all()
    assert states == ["cancelled"] * 11 + ["pending"]


def test_an_id_and_bytes_that_come_with_others_at_once_end_in_one_image_each(app: Flask, api: FlaskClient) -> None:
    """Uploads that meet crosswise, by id and by bytes, are accepted or refused, and none is lost or fails otherwise."""
    asked = [(number, own) for number in range(3) for own in ("a", "b", None)] * 2

    def one(each: tuple[int, str | None]) -> tuple[int, str | None]:
        status, answer = sent(app.test_client(), *each)
        return status, answer.get("code")

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(one, asked))
    assert answers <= {(200, None), (202, None), (409, "external_id_taken")}
    found = api.get("/v1/images").get_json()["items"]
    assert len({each["sha256"] for each in found}) == len(found)
    assert all(len(under(api, own)) == 1 for own in ("a", "b"))


def test_a_replaced_picture_is_no_near_duplicate_of_what_the_former_was_like(api: FlaskClient) -> None:
    def made(make: Factory) -> tuple[UUID, UUID]:
        version = make.version()
        ids = make.image(vector=unit(1), version=version), make.image(vector=unit(1), version=version)
        for one, other in (ids, ids[::-1]):
            make.session.execute(
                text("""
                    INSERT INTO nearest_neighbors (model_version_id, image_id, collection_id, neighbors, distances,
                                                   pixel_similarities, pixel_similarity)
                    SELECT :v, :one, collection_id, ARRAY[CAST(:other AS uuid)], '{0}', '{1}', 1
                    FROM image WHERE id = :one
                """),
                {"v": version.id, "one": one, "other": other},
            )
        make.session.execute(
            text("""
                INSERT INTO duplicate_grouping (model_version_id, collection_id, max_distance, min_pixel_similarity)
                SELECT :v, collection_id, 0.5, 0.8 FROM image LIMIT 1
            """),
            {"v": version.id},
        )
        return ids

    one, _ = committed(made)
    groups = api.get("/v1/duplicates").get_json()["items"]
    assert [group["size"] for group in groups] == [2]
    assert all("external_id" in member for member in groups[0]["images"])
    api.patch(f"/v1/images/{one}", json={"external_id": "a"})
    assert sent(api, 7, "a")[1]["image_id"] == str(one)
    assert api.get("/v1/duplicates").get_json()["items"] == []

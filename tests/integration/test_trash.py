"""Removed images: out of everything at once, back as they were, gone for ever; many images changed by a job."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.images import image_bytes
from tests.integration.callers import UNUSED_ID
from tests.integration.factory import Factory, committed, unit
from tests.integration.uploads import post_image
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.tables import Image, TrashedImage
from umbel.base.types import Queue
from umbel.changes import bulk_rows
from umbel.changes.bulk import BulkHandler
from umbel.gallery import trash
from umbel.gallery.deletion import DeletionHandler
from umbel.operations import maintenance
from umbel.operations.reconciliation.blobs import list_unowned

pytestmark = pytest.mark.usefixtures("database")

Woken = list[Queue]


@pytest.fixture
def work() -> Callable[..., Woken]:
    """Work off what is to be changed, as a worker does; the queues that it wakes."""

    def run(days: int = 7, most: int | None = None) -> Woken:
        woken: Woken = []
        config = settings().model_copy(update={"trash_days": days})
        handler = BulkHandler(transaction=transaction, settings=config, blobs=blobs(), wake=woken.append)
        steps = 0
        while (most is None or steps < most) and handler.step():
            steps += 1
        return woken

    return run


def gallery(count: int, **described: Any) -> list[str]:
    """So many images with bytes and vectors; their ids."""

    def made(make: Factory) -> list[UUID]:
        version = make.version()
        return [make.image(vector=unit(n), version=version, name=f"{n}.jpg", **described) for n in range(count)]

    ids = committed(made)
    with transaction() as session:
        for key in session.scalars(text("SELECT blob_key FROM image")).all():
            blobs().put(key, image_bytes(1))
    return list(map(str, ids))


def listed(api: FlaskClient, path: str = "/v1/images", **query: Any) -> list[str]:
    return [each["image_id"] for each in api.get(path, query_string=query).get_json()["items"]]


def found(api: FlaskClient, seed: int) -> list[str]:
    answer = api.post("/v1/search", json={"vector": unit(seed).tolist(), "k": 100}).get_json()
    return [each["image_id"] for each in answer["matches"]]


def counted(api: FlaskClient) -> int:
    return int(api.get("/v1/collections/default").get_json()["images"])


def ended(api: FlaskClient, answer: TestResponse) -> dict[str, Any]:
    """The job that a request began: its status, and the counts that are not zero."""
    assert answer.status_code == 202, answer.text
    job = api.get(answer.headers["Location"]).get_json()
    assert job["finished_at"], job
    return {"status": job["status"], **{name: value for name, value in job["counts"].items() if value}}


def stored(image_id: str) -> list[str]:
    """The keys of the image's blobs that are there."""
    with transaction() as session:
        keys = session.scalars(text("SELECT blob_key FROM trashed_image WHERE id = :id"), {"id": image_id}).all()
    return [key for key in keys if blobs().exists(key)]


def strays() -> list[str]:
    """Bytes that belong to nothing, as far as `umbel reconcile` knows."""
    keys = [blob.key for blob in blobs().list("pictures")]
    with transaction() as session:
        return sorted(list_unowned(session, keys))


def test_a_removed_image_leaves_everything_at_once_and_comes_back_as_it_was(
    api: FlaskClient, work: Callable[..., Woken]
) -> None:
    ids = gallery(3, label="rose", meta={"year": 1})
    api.patch(f"/v1/images/{ids[1]}", json={"external_id": "a"})
    before = api.get(f"/v1/images/{ids[1]}").get_json()
    assert api.delete(f"/v1/images/{ids[1]}").status_code == 204

    assert api.get(f"/v1/images/{ids[1]}").status_code == 404
    assert api.get(f"/v1/images/{ids[1]}/file").status_code == 404
    assert set(listed(api)) == set(found(api, 1)) == {ids[0], ids[2]}
    assert counted(api) == 2
    assert api.get("/v1/facets?by=label").get_json()["images"] == 2
    digest = before["sha256"]
    assert api.post("/v1/images:check", json={"sha256": [digest]}).get_json()["known"] == {}
    (row,) = api.get("/v1/trash").get_json()["items"]
    assert (row["image_id"], row["external_id"], row["label"], row["sha256"]) == (ids[1], "a", "rose", digest)
    left = datetime.fromisoformat(row["purged_at"]) - datetime.fromisoformat(row["trashed_at"])
    assert left == timedelta(days=7)
    assert len(stored(ids[1])) == 1

    answer = api.post("/v1/trash:restore", json={"ids": [ids[1]]})
    assert work() == []  # its vector is there: nothing has to be embedded
    assert ended(api, answer) == {"status": "succeeded", "total": 1, "indexed": 1}
    assert api.get(f"/v1/images/{ids[1]}").get_json() == before
    assert found(api, 1)[0] == ids[1]
    assert (counted(api), listed(api, "/v1/trash")) == (3, [])


def test_an_image_without_all_vectors_is_embedded_when_it_is_restored(
    api: FlaskClient, work: Callable[..., Woken]
) -> None:
    committed(lambda make: make.version())
    accepted = post_image(api, image_bytes(1)).get_json()
    api.delete(f"/v1/images/{accepted['image_id']}")
    assert api.get(f"/v1/jobs/{accepted['job_id']}").get_json()["status"] == "cancelled"
    answer = api.post("/v1/trash:restore", json={"filter": {}})
    assert work() == [Queue.BULK]
    job = api.get(answer.headers["Location"]).get_json()
    assert (job["status"], job["counts"]["pending"]) == ("queued", 1)
    assert api.get(f"/v1/images/{accepted['image_id']}").get_json()["status"] == "pending"
    with transaction() as session:
        assert session.execute(text("SELECT queue FROM job_item WHERE state = 'pending'")).scalars().all() == ["bulk"]


def test_bytes_that_lie_in_the_trash_come_in_as_a_new_image(api: FlaskClient, work: Callable[..., Woken]) -> None:
    first = post_image(api, image_bytes(1), external_id="a").get_json()
    api.delete(f"/v1/images/{first['image_id']}")
    again = post_image(api, image_bytes(1), external_id="a")
    assert (again.status_code, again.get_json()["status"]) == (202, "queued")
    assert again.get_json()["image_id"] != first["image_id"]
    refused = api.post("/v1/trash:restore", json={"ids": [first["image_id"]]})
    work()
    assert ended(api, refused) == {"status": "succeeded", "total": 1, "duplicate": 1}
    assert listed(api, "/v1/trash") == [first["image_id"]]
    purged = api.delete("/v1/trash", json={"ids": [first["image_id"]]})
    work()
    assert ended(api, purged) == {"status": "succeeded", "total": 1, "indexed": 1}
    assert api.get(f"/v1/images/{again.get_json()['image_id']}/file").status_code == 200  # the same bytes, kept


def test_what_stands_in_the_way_of_restoring_is_told(api: FlaskClient, work: Callable[..., Woken]) -> None:
    first, second = (post_image(api, image_bytes(n), external_id=f"{n}").get_json()["image_id"] for n in (1, 2))
    job_id = api.delete("/v1/images", json={"ids": [first, second]}).get_json()["job_id"]
    work()
    post_image(api, image_bytes(3), external_id="1")
    api.patch("/v1/collections/default", json={"max_images": 1})
    answer = api.post("/v1/trash:restore", json={"ids": [first, second, UNUSED_ID]})
    work()
    assert ended(api, answer) == {"status": "failed", "total": 3, "failed": 3}
    items = api.get(f"{answer.headers['Location']}/items").get_json()["items"]
    assert {item["error_code"] for item in items} == {"not_found", "external_id_taken", "quota_exceeded"}
    api.patch("/v1/collections/default", json={"max_images": None})
    assert set(listed(api, "/v1/trash", job_id=job_id)) == {first, second}
    again = api.post("/v1/trash:restore", json={"job_id": job_id})
    work()
    assert api.get(again.headers["Location"]).get_json()["counts"] == {
        "total": 2, "pending": 1, "indexed": 0, "duplicate": 0, "failed": 1, "cancelled": 0
    }  # fmt: skip


def test_many_are_removed_by_a_filter_and_restored_by_their_job(api: FlaskClient, work: Callable[..., Woken]) -> None:
    roses = gallery(5, label="rose")
    with transaction() as session:
        make = Factory(session, start=1_000)
        others = [str(make.image(label="tulip")) for _ in range(2)]
    answer = api.delete("/v1/images", json={"filter": {"label": "rose"}})
    work()
    assert ended(api, answer) == {"status": "succeeded", "total": 5, "indexed": 5}
    assert set(listed(api)) == set(others)
    assert strays() == []
    names = [item["name"] for item in api.get(f"{answer.headers['Location']}/items").get_json()["items"]]
    assert names == [f"{n}.jpg" for n in range(5)]
    assert listed(api, "/v1/trash", filter='{"name": {"prefix": "3"}}') == [roses[3]]
    api.post("/v1/trash:restore", json={"job_id": answer.get_json()["job_id"]})
    work()
    assert set(listed(api)) == {*roses, *others}
    assert counted(api) == 7


def test_without_a_trash_the_bytes_go_at_once(api: FlaskClient, work: Callable[..., Woken]) -> None:
    ids = gallery(2)
    with transaction() as session:
        keys = session.scalars(text("SELECT blob_key FROM image")).all()
    answer = api.delete("/v1/images", json={"ids": ids})
    work(days=0)
    assert ended(api, answer) == {"status": "succeeded", "total": 2, "indexed": 2}
    assert [key for key in keys if blobs().exists(key)] == listed(api, "/v1/trash") == []


def test_what_is_old_is_purged_a_batch_at_a_time_and_the_rest_stays(
    api: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = gallery(5)
    for image_id in ids:
        api.delete(f"/v1/images/{image_id}")
    keys = [key for image_id in ids for key in stored(image_id)]
    with transaction() as session:
        old = {"ids": list(map(UUID, ids[:4]))}
        session.execute(
            text("UPDATE trashed_image SET trashed_at = now() - interval '8 days' WHERE id = ANY (:ids)"), old
        )
    monkeypatch.setattr(trash, "BATCH", 2)
    maintenance.clean_up(transaction, blobs(), settings())
    assert listed(api, "/v1/trash") == [ids[4]]
    assert [key for key in keys if blobs().exists(key)] == [keys[4]]
    with transaction() as session:
        assert session.scalars(text("SELECT image_id FROM trashed_embedding")).all() == [UUID(ids[4])]


def test_a_deleted_collection_takes_its_trash_along(api: FlaskClient) -> None:
    ids = gallery(3)
    api.delete(f"/v1/images/{ids[0]}")
    (key,) = stored(ids[0])
    api.delete("/v1/collections/default")
    assert listed(api, "/v1/trash") == []
    DeletionHandler(transaction=transaction, blobs=blobs()).run()
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM collection")) == 0
        session.execute(text("UPDATE pending_blob_cleanup SET since = '-infinity'"))
    maintenance.tidy_blobs(transaction, blobs())
    assert not blobs().exists(key)


def test_many_are_changed_and_metadata_are_merged(api: FlaskClient, work: Callable[..., Woken]) -> None:
    ids = gallery(3, label="rose", meta={"year": 1, "gone": True})
    large = api.patch(f"/v1/images/{ids[2]}", json={"metadata": {"text": "x" * 16_000}})
    assert large.status_code == 200
    change = {"filter": {"label": "rose"}, "label": None, "metadata": {"gone": None, "note": "y" * 1_000}}
    answer = api.patch("/v1/images", json=change)
    work()
    assert ended(api, answer) == {"status": "partial", "total": 3, "indexed": 2, "failed": 1}
    assert [api.get(f"/v1/images/{each}").get_json()["label"] for each in ids] == [None, None, "rose"]
    assert api.get(f"/v1/images/{ids[0]}").get_json()["metadata"] == {"year": 1, "note": "y" * 1_000}
    (item,) = api.get(f"{answer.headers['Location']}/items?status=failed").get_json()["items"]
    assert (item["error_code"], item["name"]) == ("invalid_input", "2.jpg")
    assert api.post(f"{answer.headers['Location']}/retry").status_code == 409
    assert api.post(f"{answer.headers['Location']}/close").get_json()["code"] == "action_refused"


def test_a_cancelled_job_keeps_what_it_has_done(
    api: FlaskClient, work: Callable[..., Woken], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = gallery(6)
    monkeypatch.setattr("umbel.changes.bulk.BATCH", 2)
    monkeypatch.setattr(bulk_rows, "LISTED", 4)
    answer = api.delete("/v1/images", json={"ids": ids})
    work(most=1)  # four are listed, two removed
    assert api.get(answer.headers["Location"]).get_json()["phase"] == "removing"
    assert api.post(f"{answer.headers['Location']}/cancel").status_code == 200
    work()
    assert ended(api, answer) == {"status": "cancelled", "total": 4, "indexed": 2, "cancelled": 2}
    assert len(listed(api)) == 4


def test_a_request_that_is_repeated_under_its_key_begins_one_job(api: FlaskClient) -> None:
    ids = gallery(2)

    def sent(body: dict[str, Any], key: str = "k") -> Any:
        return api.delete("/v1/images", json=body, headers={"Idempotency-Key": key})

    first, again, other = sent({"ids": ids}), sent({"ids": ids[::-1]}), sent({"ids": ids[:1]})
    assert again.get_json() == first.get_json()
    assert (other.status_code, other.get_json()["code"]) == (409, "idempotency_key_reused")


@pytest.mark.parametrize(
    "body",
    [{}, {"ids": []}, {"filter": {}}, {"ids": [UNUSED_ID], "filter": {"label": "a"}}],
)
def test_a_request_that_does_not_say_which_images_is_refused(api: FlaskClient, body: dict[str, Any]) -> None:
    gallery(1)
    assert api.delete("/v1/images", json=body).status_code == 422
    assert api.patch("/v1/images", json={**body, "label": "x"}).status_code == 422


def test_a_list_of_ids_may_be_long_and_none_of_another_collection_is_touched(
    api: FlaskClient, work: Callable[..., Woken]
) -> None:
    ours = gallery(1)
    with transaction() as session:
        theirs = str(Factory(session, start=1_000).image(collection="other"))
    unknown = [f"019a0000-0000-7000-8000-{n:012x}" for n in range(3_000)]
    answer = api.delete("/v1/images", json={"ids": [*ours, theirs, *unknown], "collection": "default"})
    work()
    assert ended(api, answer) == {"status": "partial", "total": 3_002, "indexed": 1, "failed": 3_001}
    assert listed(api) == [theirs]
    assert api.delete("/v1/images", json={"filter": {}, "collection": "missing"}).status_code == 404


def test_the_trash_has_all_that_an_image_has() -> None:
    """A column that an image gets later has to be kept in the trash, too."""
    columns = {column.name for column in Image.__table__.columns}
    assert {name.strip() for name in trash.COLUMNS.split(",")} == columns
    assert columns <= {column.name for column in TrashedImage.__table__.columns}

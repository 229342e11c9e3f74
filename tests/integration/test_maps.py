"""Maps: asked for over HTTP, computed by a line as a worker has one, read with the labels that images have now."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from flask.testing import FlaskClient

from tests.integration.factory import Factory, unit
from umbel.base.database import transaction
from umbel.base.errors import TransientError
from umbel.base.settings import settings
from umbel.base.types import Plane, Queue, Vectors
from umbel.gallery import images
from umbel.insights import projection
from umbel.insights.projection import MapHandler
from umbel.jobs.wakeup import waker
from umbel.operations import maintenance
from worker.projecting import project_apart

pytestmark = pytest.mark.usefixtures("database", "redis")


def first_two(vectors: Vectors, unwanted: Callable[[], bool]) -> Plane:
    """A map whose points tell which vectors they are of."""
    return (vectors[:, :2] + 1) / 2


def compute(project: Any = first_two) -> None:
    MapHandler(transaction=transaction, project=project).run()


def gallery(**labels: str | None) -> dict[str, UUID]:
    """An image a name, labelled so; a name that ends with a collection's letter is in collection b."""
    with transaction() as session:
        make = Factory(session)
        version = make.version()
        return {
            name: make.image(
                collection="b" if name.endswith("b") else "a", label=label, vector=unit(seed), version=version
            )
            for seed, (name, label) in enumerate(labels.items())
        }


def test_a_map_has_every_picture_where_its_vector_belongs_with_its_label(api: FlaskClient) -> None:
    made = gallery(one="rose", two="tulip", three="rose", four=None, five_b="rose")
    accepted = api.post("/v1/map", json={})
    assert accepted.status_code == 202
    assert api.get("/v1/map").get_json()["computed_at"] is None
    compute()
    job = api.get(accepted.headers["Location"]).get_json()
    assert (job["type"], job["status"], job["counts"]["total"]) == ("map", "succeeded", 0)
    found = api.get("/v1/map").get_json()
    assert found["labels"] == ["rose", "tulip"]
    assert (found["images"], found["new"]) == (5, 0)
    of = {UUID(image): at for at, image in enumerate(found["ids"])}
    assert of.keys() == set(made.values())
    assert [found["label"][of[made[name]]] for name in ("one", "two", "three", "four")] == [0, 1, 0, -1]
    for seed, image in enumerate(made.values()):
        point = (found["x"][of[image]], found["y"][of[image]])
        assert point == pytest.approx((unit(seed)[:2] + 1) / 2, abs=1e-3)


def test_a_map_of_a_collection_is_apart_from_that_of_all(api: FlaskClient) -> None:
    made = gallery(one="rose", two_b="rose", three_b="tulip")
    api.post("/v1/map", json={"collection": "b"})
    compute()
    assert set(api.get("/v1/map?collection=b").get_json()["ids"]) == {str(made["two_b"]), str(made["three_b"])}
    assert api.get("/v1/map").get_json()["ids"] == []
    assert api.get("/v1/map?collection=nowhere").status_code == 404


def test_it_says_how_many_came_since_and_leaves_out_those_that_went(api: FlaskClient) -> None:
    made = gallery(one="rose", two="rose", three="tulip")
    api.post("/v1/map", json={})
    compute()
    assert api.delete(f"/v1/images/{made['one']}").status_code == 204
    api.patch(f"/v1/images/{made['two']}", json={"label": "lily"})
    with transaction() as session:
        make = Factory(session, start=50)
        version = projection.versions.get_active_version(session)
        for seed in (7, 8):
            make.image(collection="a", vector=unit(seed), version=version)
    found = api.get("/v1/map").get_json()
    assert set(found["ids"]) == {str(made["two"]), str(made["three"])}
    assert (found["new"], sorted(found["labels"])) == (2, ["lily", "tulip"])
    api.post("/v1/map", json={})
    compute()
    assert (len(api.get("/v1/map").get_json()["ids"]), api.get("/v1/map").get_json()["new"]) == (4, 0)


def test_one_is_computed_at_a_time_and_an_empty_gallery_has_none(api: FlaskClient) -> None:
    gallery(one="rose")
    api.post("/v1/collections", json={"name": "empty"})
    assert api.post("/v1/map", json={"collection": "empty"}).status_code == 409
    api.post("/v1/map", json={})
    assert api.post("/v1/map", json={}).status_code == 409
    assert api.post("/v1/map", json={"collection": "a"}).status_code == 202


def test_a_cancelled_map_is_not_computed_and_not_even_when_it_was_begun(api: FlaskClient) -> None:
    gallery(one="rose")
    job = api.post("/v1/map", json={}).get_json()["links"]["self"]

    def cancelled_meanwhile(vectors: Vectors, unwanted: Callable[[], bool]) -> Plane:
        assert not unwanted()
        assert api.post(f"{job}/cancel").status_code == 200
        assert unwanted()
        return first_two(vectors, unwanted)

    compute(cancelled_meanwhile)
    assert api.get(job).get_json()["status"] == "cancelled"
    assert api.get("/v1/map").get_json()["computed_at"] is None


def test_a_projection_that_dies_fails_the_job_and_says_why(api: FlaskClient) -> None:
    gallery(one="rose")
    job = api.post("/v1/map", json={}).get_json()["links"]["self"]

    def dies(vectors: Vectors, unwanted: Callable[[], bool]) -> Plane:
        raise TransientError("no memory")

    compute(dies)
    ended = api.get(job).get_json()
    assert (ended["status"], ended["error"]) == ("failed", "no memory")
    assert api.post("/v1/map", json={}).status_code == 202


def test_the_sweep_rings_for_a_map_left_behind_but_not_for_one_that_waits(api: FlaskClient) -> None:
    gallery(one="rose")
    job = api.post("/v1/map", json={}).get_json()["links"]["self"]
    assert api.post(f"{job}/close").status_code == 409
    assert Queue.MAP in maintenance.sweep(transaction, waker(), settings())
    api.post(f"{job}/pause")
    assert Queue.MAP not in maintenance.sweep(transaction, waker(), settings())


def test_a_deleted_collection_takes_its_pictures_off_every_map(api: FlaskClient) -> None:
    made = gallery(one="rose", two_b="rose")
    for body in ({}, {"collection": "b"}):
        api.post("/v1/map", json=body)
    compute()
    api.delete("/v1/collections/b")
    assert api.get("/v1/map").get_json()["ids"] == [str(made["one"])]
    assert api.get("/v1/map?collection=b").status_code == 404


def test_a_process_of_its_own_lays_out_the_same_and_stops_when_it_is_not_wanted() -> None:
    vectors = np.stack([unit(seed) for seed in range(12)])
    points = project_apart(vectors, lambda: False)
    assert points is not None
    assert points.shape == (12, 2)
    assert project_apart(np.tile(vectors, (400, 1)), lambda: True) is None


def test_pictures_without_a_vector_are_on_no_map(api: FlaskClient) -> None:
    made = gallery(one="rose", two="rose")
    with transaction() as session:
        waits = Factory(session, start=90).image(collection="a")
        assert images.get_image(session, waits).status == "pending"
    api.post("/v1/map", json={})
    compute()
    assert set(api.get("/v1/map").get_json()["ids"]) == {str(made["one"]), str(made["two"])}

"""Tiles of a collection: switched on and off, embedded with each image and model, and searched beside the whole."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from umbel_client import Tiling, Umbel

from tests.command_line import umbel_here
from tests.integration.damage import unwatched
from tests.integration.factory import Factory, committed, unit
from tests.integration.reindex.gallery import (
    Embedder,
    Models,
    begin,
    embedded,
    make_version,
    run,
    state,
    upload,
    worked,
)
from tests.integration.scene import Silent
from tests.integration.threshold import scanned_up_to
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.tables import ModelVersion
from umbel.base.types import JobType, ModelState, Vector
from umbel.changes.bulk import BulkHandler, begin_bulk
from umbel.changes.bulk_rows import Chosen
from umbel.changes.tiling import OTHER_BYTES
from umbel.embedding import tiles
from umbel.embedding.embedding import EmbeddingHandler
from umbel.gallery.tiles import BOXES, LAYOUTS
from umbel.jobs import jobs
from umbel.models import reindexes
from umbel.operations.reconciliation import Context, reconcile
from umbel.reindex.run import ReindexHandler

pytestmark = pytest.mark.usefixtures("database", "redis")

QUERY = unit(0)


def patch(api: FlaskClient, status: int = 200, **change: Any) -> dict[str, Any]:
    answer = api.patch("/v1/collections/default", json=change)
    assert answer.status_code == status, answer.text
    return dict(answer.get_json())


def search(api: FlaskClient, **asked: Any) -> dict[str, Any]:
    answer = api.post("/v1/search", json={"collection": "default", **asked})
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def tiled(version: ModelVersion) -> dict[UUID, int]:
    """How many tiles each image has."""
    statement = text("SELECT image_id, count(*) FROM tile WHERE model_version_id = :id GROUP BY image_id")
    with transaction() as session:
        return {row[0]: row[1] for row in session.execute(statement, {"id": version.id})}


@pytest.fixture
def work(line: EmbeddingHandler) -> Callable[[], None]:
    """As a worker does what waits for it."""

    def done() -> None:
        bulk = BulkHandler(transaction=transaction, settings=settings(), blobs=blobs(), wake=lambda _: None)
        bulk.run()
        line.run()

    return done


@pytest.fixture
def tiled_gallery() -> dict[str, list[Vector]]:
    """Thirty images of three labels in `default`, which has 4 tiles, each with its vectors, the whole first; some of
    them of one distance. One image elsewhere."""

    def made(make: Factory) -> dict[str, list[Vector]]:
        version = make.version()
        make.image(collection="meadow", vector=QUERY, version=version)
        found = {}
        for n in range(30):
            vectors = [unit(100 * n + at if n % 5 else 7 + at % 2) for at in range(5)]
            image = make.image(label=f"label {n % 3}", vector=vectors[0], version=version)
            collection = make.collection("default")
            rows = [(image, collection, f"pictures/{make._count}", 4, np.stack(vectors[1:]))]
            tiles.upsert_tiles(make.session, version.id, rows)
            found[str(image)] = vectors
        make.session.execute(text("UPDATE collection SET tiles = 4 WHERE name = 'default'"))
        return found

    return committed(made)  # type: ignore[no-any-return]


def expected(gallery: dict[str, list[Vector]]) -> dict[str, tuple[float, list[float] | None]]:
    """The distance of the nearest vector of each image, and the box of that."""
    found = {}
    for image, vectors in gallery.items():
        distances = [round(1 - float(np.dot(each, QUERY) / np.linalg.norm(each)), 5) for each in vectors]
        best = int(np.argmin(distances))
        found[image] = (distances[best], list(BOXES[best]) if best else None)
    return found


@pytest.mark.parametrize("through", ["scan", "index"])
def test_each_image_is_found_once_by_the_nearest_of_its_vectors(
    api: FlaskClient, tiled_gallery: dict[str, list[Vector]], through: str
) -> None:
    right = expected(tiled_gallery)
    asked: dict[str, Any] = {"vector": QUERY.tolist(), "k": 7}
    found: list[dict[str, Any]] = []
    modes, cursor = set(), {}
    with scanned_up_to(20) if through == "index" else nullcontext():
        while not found or cursor:
            page = search(api, **asked, **cursor)
            modes.add(page["search"]["mode"])
            found += page["matches"]
            cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        labelled = search(api, **asked, filter={"label": ["label 1"]})["matches"]
    of_label = list(tiled_gallery)[1::3]
    order = [(one["distance"], one["image_id"]) for one in found]
    assert (len(order), order) == (30, sorted(order))
    assert {one["image_id"]: (pytest.approx(one["distance"], abs=1e-3), one.get("box")) for one in found} == right
    assert [one["image_id"] for one in labelled] == [one["image_id"] for one in found if one["image_id"] in of_label][
        :7
    ]
    assert modes == (
        {"exact"} if through == "scan" else {"hnsw", "exact"}
    )  # the last page has fewer than were asked for


def test_a_whole_that_is_farther_is_found_by_a_tile_and_only_within_the_collection(
    api: FlaskClient, tiled_gallery: dict[str, list[Vector]]
) -> None:
    image, vectors = list(tiled_gallery.items())[1]
    asked = {"vector": vectors[3].tolist(), "k": 3}
    [first, *_] = search(api, **asked)["matches"]
    assert (first["image_id"], first["box"]) == (image, list(LAYOUTS[4][3]))
    assert first["distance"] < 1e-3
    everywhere = search(api, **asked, collection=None)["matches"]
    assert everywhere[0]["distance"] > 0.01
    assert not any("box" in match for match in everywhere)
    grouped = search(api, **asked, group_by="label")["matches"]
    assert (len(grouped), grouped[0]["image_id"], grouped[0]["box"]) == (3, image, list(LAYOUTS[4][3]))
    assert grouped[0]["group_size"] == 10
    assert search(api, **asked, diversity=0.3)["matches"][0]["box"] == list(LAYOUTS[4][3])
    by_itself = search(api, image_id=image, k=40)["matches"]
    assert len(by_itself) == 29
    assert image not in [match["image_id"] for match in by_itself]


def test_switched_on_a_job_embeds_what_is_there_and_off_all_is_removed(
    api: FlaskClient, models: Models, line: EmbeddingHandler, active: ModelVersion, work: Callable[[], None]
) -> None:
    there = upload(line, 3)
    with transaction() as session:  # a hundred images in ten seconds
        former = "INSERT INTO job (type, closed, total, indexed, started_at, finished_at)"
        session.execute(text(f"{former} VALUES ('import', true, 100, 100, now() - interval '10 s', now())"))
    cost = patch(api, tiles=4, dry_run=True)
    assert cost["tiling"]["seconds"] == pytest.approx(3 * 5 / 10, rel=0.1)
    assert (cost["tiles"], cost["tiling"]["vectors"], cost["tiling"]["job_id"]) == (0, 12, None)
    assert cost["tiling"]["bytes"] > 12 * 2 * active.dim
    job = UUID(patch(api, tiles=4)["tiling"]["job_id"])
    come = upload(line, 2)
    assert tiled(active) == dict.fromkeys(come, 4)
    work()
    assert tiled(active) == dict.fromkeys([*there, *come], 4)
    with transaction() as session:
        done = jobs.get_job(session, job)
        assert (done.status, done.indexed) == ("succeeded", 3)
    embedder = models.known[active.id].embedder
    assert isinstance(embedder, Embedder)
    with transaction() as session:
        number = int(
            session.scalar(text("SELECT split_part(blob_key, '/', 2) FROM image WHERE id = :i"), {"i": there[1]})
        )
    [first, *_] = search(api, vector=embedder.vector(number + 2_000).tolist())["matches"]
    assert (first["image_id"], first["box"]) == (str(there[1]), list(LAYOUTS[4][2]))
    patch(api, 409, tiles=9)
    assert api.delete(f"/v1/images/{come[0]}").status_code == 204
    assert set(tiled(active)) == {*there, come[1]}
    patch(api, tiles=0)
    assert not any("box" in one for one in search(api, vector=embedder.vector(number + 2_000).tolist())["matches"])
    patch(api, 409, tiles=9)  # what is left has other places
    assert tiles.remove_former_tiles(transaction)
    assert tiled(active) == {}
    patch(api, tiles=9)
    work()
    assert tiled(active) == dict.fromkeys([*there, come[1]], 9)


def test_a_batch_that_was_claimed_before_is_embedded_with_tiles_too(
    api: FlaskClient, line: EmbeddingHandler, active: ModelVersion
) -> None:
    [picture] = upload(line, 1, embed=False)
    batch = worked(line)
    patch(api, tiles=4)
    assert line._store(batch) == 1
    assert tiled(active) == {picture: 4}
    assert embedded(active) == {picture}


def test_a_new_model_has_the_tiles_before_the_switch(
    api: FlaskClient, models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    api.post("/v1/collections", json={"name": "default", "tiles": 4})
    there = upload(line, 24)
    other = make_version(models)
    begin(other, activate=True)
    run(reindexing, line)
    assert state(other) == ModelState.ACTIVE
    assert tiled(other) == dict.fromkeys(there, 4)
    with transaction() as session:
        session.execute(text("DELETE FROM tile WHERE model_version_id = :id AND image_id = :image"),
                        {"id": active.id, "image": there[2]})  # fmt: skip
        assert reindexes.count_lacking(session, active=other.id, version_id=active.id) == 1


def test_a_restored_image_gets_its_tiles_again(
    api: FlaskClient, line: EmbeddingHandler, active: ModelVersion, work: Callable[[], None]
) -> None:
    api.post("/v1/collections", json={"name": "default", "tiles": 4})
    [image] = upload(line, 1)
    for kind, left in ((JobType.REMOVAL, {}), (JobType.RESTORATION, {image: 4})):
        with transaction() as session:
            begin_bulk(session, kind, Chosen(ids=[image]), collection="default")
        work()
        assert tiled(active) == left


def test_reconciliation_finds_images_that_lack_their_tiles(
    api: FlaskClient, line: EmbeddingHandler, active: ModelVersion
) -> None:
    def found(*, repair: bool = False) -> int:
        context = Context(transaction, blobs(), Silent(), settings(), unwatched, repair=repair, deep=False)  # type: ignore[arg-type]
        return next(kind.found for kind in reconcile(context) if kind.code == "no_tiles")

    api.post("/v1/collections", json={"name": "default", "tiles": 4})
    there = upload(line, 2)
    with transaction() as session:
        session.execute(text("DELETE FROM tile WHERE image_id = :id"), {"id": there[0]})
    assert (found(), found(repair=True), found()) == (1, 1, 0)
    line.run()
    assert tiled(active) == dict.fromkeys(there, 4)


def test_the_command_tells_what_tiles_take_before_it_asks(
    app: Flask, line: EmbeddingHandler, active: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def client() -> Umbel:
        """Of the application itself; closed after each command."""
        made = Umbel("http://localhost")
        made.connection.http = httpx.Client(base_url="http://localhost", transport=httpx.WSGITransport(app))
        return made

    def has() -> int:
        return client().collections.get("default").tiles

    monkeypatch.setattr("cli.collections.api_client", client)
    upload(line, 3)
    command = ("collections", "tiles", "default")
    told = umbel_here(*command, "4", "--dry-run").stdout
    assert "4 tiles of each of 3 pictures: 12 vectors" in told
    assert "no job yet that tells how long" in told
    assert (umbel_here(*command, "4", "--json").returncode, has()) == (2, 0)
    assert "are being embedded: umbel jobs show" in umbel_here(*command, "4", "--yes").stdout
    assert has() == 4
    assert "default has 0 tiles" in umbel_here(*command, "0", "--yes").stdout
    assert client().collections.set_tiles("default", 9, dry_run=True).tiling == Tiling(
        vectors=27, bytes=27 * (4 * active.dim + OTHER_BYTES), seconds=None, job_id=None
    )

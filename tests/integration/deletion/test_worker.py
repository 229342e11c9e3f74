"""A real worker process in the middle of a deletion: killed, and started again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from api.decoding import looked_at
from tests.images import image_bytes
from tests.integration.workers import start_worker
from tests.processes import Process, eventually
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.gallery import collections
from umbel.gallery.upload import Upload, Uploader
from umbel.imports.imports import open_import
from umbel.jobs import jobs

WORKER = "delete@test"
IMAGES = 450  # so that a deletion takes a few batches
KEPT = 20
LONG = 100  # seconds: a model may take a while to load
NOTHING = {"total": 0, "pending": 0, "indexed": 0, "duplicate": 0, "failed": 0, "cancelled": 0}

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def worker(api: FlaskClient, tmp_path: Path) -> Iterator[Process]:
    """A worker, and two collections that it has begun to embed."""
    fill("garden", range(IMAGES))
    fill("meadow", range(KEPT))
    process = start_worker(WORKER, tmp_path / "worker.log")
    eventually(embedded, within=LONG)
    yield process
    if process.running():
        assert process.stop() == 0


def fill(collection: str, seeds: range) -> None:
    """Pictures that an import has sent and that wait to be embedded."""
    with transaction() as session:
        job_id = open_import(session, collection)
    uploader = Uploader(transaction, blobs(), looked_at)
    for seed in seeds:
        uploader.add_image(Upload(image_bytes(seed), collection, "mine.jpg", job_id=job_id))
    with transaction() as session:
        jobs.close_job(session, job_id)


def counts(api: FlaskClient, job_id: str) -> dict[str, Any]:
    found = api.get(f"/v1/jobs/{job_id}").get_json()["counts"]
    assert found["total"] == sum(count for state, count in found.items() if state != "total")
    return dict(found)


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_deletion_leaves_nothing_behind(
    api: FlaskClient, worker: Process, tmp_path: Path
) -> None:
    """While the worker embeds what is deleted."""
    with transaction() as other:  # holds an image of the last batch, so that the worker does not come to its end
        last = "SELECT FROM image WHERE collection_id = :id ORDER BY id DESC LIMIT 1 FOR KEY SHARE"
        other.execute(text(last), {"id": collections.get_collection(other, "garden")})
        job_id = api.delete("/v1/collections/garden").get_json()["job_id"]
        eventually(lambda: counts(api, job_id)["indexed"], within=LONG)
        worker.kill()
        assert counts(api, job_id)["pending"] > 0
    second = start_worker(WORKER, tmp_path / "second.log")
    try:
        eventually(lambda: api.get(f"/v1/jobs/{job_id}").get_json()["finished_at"], within=LONG)
        assert counts(api, job_id) == {**NOTHING, "total": IMAGES, "indexed": IMAGES}
        assert [len(list(blobs().list(f"pictures/{name}"))) for name in ("garden", "meadow")] == [0, KEPT]
        eventually(lambda: embedded() == KEPT, within=LONG)
    finally:
        second.stop()
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM image")) == KEPT
        assert session.scalars(text("SELECT type FROM job ORDER BY type")).all() == ["deletion", "import"]
        assert session.scalar(text("SELECT count(*) FROM job_item WHERE name IS NOT NULL")) == KEPT


def embedded() -> int:
    with transaction() as session:
        return session.scalar(text("SELECT count(*) FROM embedding")) or 0

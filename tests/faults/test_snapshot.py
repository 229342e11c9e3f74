"""What the oracle is given is what is there: a real ledger and real files, harmed for real."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from api.decoding import looked_at
from tests.faults.images import image_bytes
from tests.faults.oracle import violations
from tests.faults.sampler import miscounts
from tests.faults.snapshot import read_snapshot
from tests.integration.factory import Factory, unit
from umbel.base.blobs import Blobs
from umbel.base.database import engine, transaction
from umbel.base.settings import settings
from umbel.base.types import ItemState
from umbel.embedding import embeddings
from umbel.gallery import collections
from umbel.gallery.upload import Upload, Uploader
from umbel.imports.imports import open_import
from umbel.jobs import items, jobs

pytestmark = pytest.mark.usefixtures("database")

COLLECTION = "stormy"


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path.as_uri())


@pytest.fixture
def taken(blobs: Blobs) -> dict[str, UUID]:
    """Three pictures of one import, stored and embedded."""
    with transaction() as session:
        version = Factory(session).version()
        job = open_import(session, COLLECTION)
    uploader = Uploader(transaction, blobs, looked_at)
    sent = [image_bytes(1, number) for number in range(3)]
    made = {data: uploader.add_image(Upload(data, COLLECTION, job_id=job)).image_id for data in sent}
    with transaction() as session:
        jobs.close_job(session, job)
        added = items.list_items(session, job, state=None, after=None, limit=9)
        items.finish_items(session, [item.id for item in added], ItemState.INDEXED)
        collection = collections.get_collection(session, COLLECTION)
        for image in made.values():
            embeddings.upsert_embeddings(session, version.id, [(image, collection)], unit(1)[None])
    return {hashlib.sha256(data).hexdigest(): image for data, image in made.items()}


@pytest.fixture
def connection() -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(host=str(settings().socket_dir), user="umbel", dbname="umbel") as made:
        yield made


def harm(statement: str) -> None:
    with engine().begin() as connection:
        connection.execute(text(statement))


def judged(connection: "psycopg.Connection[Any]", blobs: Blobs, taken: dict[str, UUID]) -> list[str]:
    assert blobs.folder is not None
    return violations(read_snapshot(connection, COLLECTION, blobs.folder), taken)


def test_nothing_is_wrong(connection: "psycopg.Connection[Any]", blobs: Blobs, taken: dict[str, UUID]) -> None:
    assert len(taken) == 3
    assert judged(connection, blobs, taken) == []


def test_a_lost_embedding(connection: "psycopg.Connection[Any]", blobs: Blobs, taken: dict[str, UUID]) -> None:
    harm("DELETE FROM embedding WHERE image_id = (SELECT max(id::text)::uuid FROM image)")
    assert [each.partition(":")[0] for each in judged(connection, blobs, taken)] == ["embeddings"]


def test_an_orphan_blob(connection: "psycopg.Connection[Any]", blobs: Blobs, taken: dict[str, UUID]) -> None:
    blobs.put(f"pictures/{COLLECTION}/00/nobody", b"bytes")
    assert judged(connection, blobs, taken) == [f"orphan blobs: pictures/{COLLECTION}/00/nobody"]


def test_a_damaged_blob(connection: "psycopg.Connection[Any]", blobs: Blobs, taken: dict[str, UUID]) -> None:
    assert blobs.folder is not None
    next(path for path in blobs.folder.rglob("*") if path.is_file()).write_bytes(b"half a pict")
    assert [each.partition(":")[0] for each in judged(connection, blobs, taken)] == ["blobs"]


def test_a_count_that_adds_up_but_is_wrong(
    connection: "psycopg.Connection[Any]", blobs: Blobs, taken: dict[str, UUID]
) -> None:
    assert miscounts(connection) == []
    harm("UPDATE job SET indexed = indexed - 1, duplicate = duplicate + 1")
    assert len(miscounts(connection, COLLECTION)) == 1
    assert len(miscounts(connection)) == 1
    assert [each.partition(":")[0] for each in judged(connection, blobs, taken)] == ["counts"]

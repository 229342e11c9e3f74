"""Images that stay where they are: imported, read, moved, changed, gone, deleted; never written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.images import image_bytes
from tests.integration.damage import unwatched
from tests.integration.imports.archives import counts, embed_all, use
from umbel.base.blobs import Blobs, blobs_of
from umbel.base.database import transaction
from umbel.base.errors import BlobMissing
from umbel.base.settings import Settings, settings
from umbel.changes.bulk import BulkHandler
from umbel.gallery.blob_cleanups import THUMBNAILS, rendition_key
from umbel.jobs.wakeup import waker
from umbel.operations import maintenance
from umbel.operations.dump import snapshot
from umbel.operations.reconciliation.blobs import check_blobs
from umbel.operations.reconciliation.context import Context

pytestmark = pytest.mark.usefixtures("database", "redis")

LONG_AGO = 1_700_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, below an import root."""
    made = tmp_path / "root" / "photos"
    (made / "rose").mkdir(parents=True)
    place(made / "rose/a.jpg", image_bytes(1))
    place(made / "b ü#.jpg", image_bytes(2))
    return made


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return settings().model_copy(update={"import_roots": (str(tmp_path / "root"),)})


@pytest.fixture
def take(
    api: FlaskClient, fetch: Any, folder: Path, config: Settings, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], str]:
    """Import the folder in place, to the end; the job."""
    use(monkeypatch, import_roots=config.import_roots)

    def run() -> str:
        source = {"type": "folder", "path": str(folder), "in_place": True}
        answer = api.post("/v1/imports", json={"source": source, "label_from_folder": True})
        assert answer.status_code == 202, answer.text
        fetch(blobs_of(config), config)
        embed_all()
        BulkHandler(transaction=transaction, blobs=blobs_of(config), settings=config, wake=lambda _: None).run()
        return str(answer.get_json()["job_id"])

    return run


def place(path: Path, data: bytes, *, at: int = LONG_AGO) -> None:
    path.write_bytes(data)
    os.utime(path, (at, at))


def keys() -> dict[str, str]:
    """Blob keys by the names of images."""
    with transaction() as session:
        return {row.name: row.blob_key for row in session.execute(text("SELECT name, blob_key FROM image"))}


def stored(store: Blobs) -> list[str]:
    return [blob.key for folder in ("pictures", "in-place", "thumbnails", "published") for blob in store.list(folder)]


def test_the_pictures_are_indexed_and_not_copied(api: FlaskClient, take: Any, config: Settings) -> None:
    job_id = take()
    store = blobs_of(config)
    found = keys()
    assert counts(api, job_id) == {"indexed": 2}
    assert {name: store.get(key) for name, key in found.items()} == {
        "rose/a.jpg": image_bytes(1),
        "b ü#.jpg": image_bytes(2),
    }
    assert stored(store) == []


def test_a_second_import_reads_nothing(
    api: FlaskClient, take: Any, folder: Path, config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    take()
    monkeypatch.setattr("umbel.imports.sources.folder.Folder.read_original", None)
    assert counts(api, take()) == {"duplicate": 2}


def test_what_was_changed_just_now_is_read_again(
    api: FlaskClient, take: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take()
    os.utime(folder / "rose/a.jpg")
    assert counts(api, take()) == {"duplicate": 2}


def test_a_file_that_was_moved_is_the_same_image(api: FlaskClient, take: Any, folder: Path, config: Settings) -> None:
    take()
    before = api.get("/v1/images").get_json()["items"]
    (folder / "rose/a.jpg").rename(folder / "rose/c.jpg")
    with pytest.raises(BlobMissing, match="is gone"):
        blobs_of(config).get(keys()["rose/a.jpg"])
    take()
    assert api.get("/v1/images").get_json()["items"] == before
    assert blobs_of(config).get(keys()["rose/a.jpg"]) == image_bytes(1)


def test_a_file_with_another_picture_is_another_image_and_the_former_goes_to_the_trash(
    api: FlaskClient, take: Any, folder: Path, config: Settings
) -> None:
    take()
    former = keys()["rose/a.jpg"]
    place(folder / "rose/a.jpg", image_bytes(3), at=LONG_AGO + 1)
    with pytest.raises(BlobMissing, match="has changed"):
        blobs_of(config).size(former)
    assert counts(api, take()) == {"indexed": 1, "duplicate": 1}
    assert blobs_of(config).get(keys()["rose/a.jpg"]) == image_bytes(3)
    assert [image["name"] for image in api.get("/v1/trash").get_json()["items"]] == ["rose/a.jpg"]


def test_of_two_files_with_the_same_bytes_the_first_one_counts(
    api: FlaskClient, take: Any, folder: Path, config: Settings
) -> None:
    place(folder / "rose/z.jpg", image_bytes(1))
    assert counts(api, take()) == {"indexed": 2, "duplicate": 1}
    (folder / "rose/a.jpg").unlink()
    take()
    assert blobs_of(config).get(keys()["rose/a.jpg"]) == image_bytes(1)


def test_what_no_root_covers_any_more_is_not_read(take: Any, config: Settings, tmp_path: Path) -> None:
    take()
    elsewhere = blobs_of(config.model_copy(update={"import_roots": (str(tmp_path / "other"),)}))
    for read in (elsewhere.get, elsewhere.size, elsewhere.open_file):
        with pytest.raises(BlobMissing, match="import root"):
            read(keys()["rose/a.jpg"])


def test_a_link_that_was_swapped_in_leads_nowhere(take: Any, folder: Path, config: Settings, tmp_path: Path) -> None:
    take()
    (tmp_path / "secret.jpg").write_bytes(image_bytes(1))
    (folder / "rose/a.jpg").unlink()
    (folder / "rose/a.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(BlobMissing, match="import root"):
        blobs_of(config).get(keys()["rose/a.jpg"])


def test_deleting_an_image_leaves_its_file_and_removes_its_thumbnail(
    api: FlaskClient, take: Any, folder: Path, config: Settings
) -> None:
    take()
    image_id, store = thumbnail(config)
    assert api.delete(f"/v1/images/{image_id}").status_code == 204
    with transaction() as session:
        session.execute(text("UPDATE trashed_image SET trashed_at = now() - interval '1 year'"))
        session.execute(text("UPDATE pending_blob_cleanup SET since = '-infinity'"))
    maintenance.clean_up(transaction, store, config)
    assert ((folder / "rose/a.jpg").read_bytes(), stored(store)) == (image_bytes(1), [])


def test_reconcile_knows_whose_a_thumbnail_is_and_finds_what_is_gone(take: Any, folder: Path, config: Settings) -> None:
    take()
    image_id, store = thumbnail(config)
    assert amiss(store, config) == {}
    (folder / "rose/a.jpg").unlink()
    assert amiss(store, config) == {"missing_blob": 1}
    with transaction() as session:
        session.execute(text("DELETE FROM image WHERE id = :id"), {"id": image_id})
    assert amiss(store, config) == {"stray_blob": 1}
    amiss(store, config, repair=True)
    assert (amiss(store, config), stored(store)) == ({}, [])


def test_a_backup_has_none_of_them(take: Any) -> None:
    take()
    with snapshot() as seen:
        assert (seen.images(), list(seen.blobs())) == (2, [])


def thumbnail(config: Settings) -> tuple[str, Blobs]:
    """Of the first picture, put where one that was asked for is kept; the image's id, and the store."""
    store = blobs_of(config)
    key = keys()["rose/a.jpg"]
    store.put(rendition_key(key, THUMBNAILS), b"small")
    with transaction() as session:
        return str(session.scalar(text("SELECT id FROM image WHERE blob_key = :key"), {"key": key})), store


def amiss(store: Blobs, config: Settings, *, repair: bool = False) -> dict[str, int]:
    context = Context(transaction, store, waker(), config, unwatched, repair=repair)
    return {each.code: each.found for each in check_blobs(context) if each.found}

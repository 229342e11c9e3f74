"""Folders that are followed: what is new, changed, renamed or gone in them is so in the gallery after a run."""

import os
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import text

from stack.postgres import Postgres
from stack.redis import Redis
from tests.images import image_bytes
from tests.integration.callers import UNUSED_ID
from tests.integration.imports.archives import embed_all
from tests.integration.imports.followed import Followed, end_runs
from tests.integration.test_server import Api
from tests.integration.test_vector_docs import run as run_page
from tests.integration.uploads import post_image
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.jobs.wakeup import waker
from umbel.operations import maintenance

pytestmark = pytest.mark.usefixtures("database", "redis")


def test_what_is_new_is_imported_and_read_once(followed: Followed) -> None:
    followed.put("roses/a.jpg", 1)
    followed.put("tulips/b.jpg", 2)
    (followed.folder / "notes.txt").write_text("no picture")
    made = followed.add(label_from_folder=True)
    assert (made["location"], made["collection"], made["last_run"]) == (str(followed.folder), "default", None)
    last = followed.run()
    assert (last["status"], last["error"], last["report"]["new"]) == ("succeeded", None, 2)
    assert {name: image["label"] for name, image in followed.images().items()} == {
        "roses/a.jpg": "roses",
        "tulips/b.jpg": "tulips",
    }
    assert followed.report() == {"unchanged": 2}
    assert followed.reads == []
    followed.put("c.jpg", 3)
    assert followed.report() == {"new": 1, "unchanged": 2}
    assert followed.reads == ["c.jpg"]


def test_a_renamed_file_keeps_its_image(followed: Followed) -> None:
    followed.put("a.jpg", 1)
    followed.put("b.jpg", 2)
    followed.add()
    followed.run()
    before = followed.images()["a.jpg"]
    followed.api.patch(f"/v1/images/{before['image_id']}", json={"label": "rose", "metadata": {"year": 2026}})
    (followed.folder / "sub").mkdir()
    (followed.folder / "a.jpg").rename(followed.folder / "sub" / "z.jpg")
    assert followed.report(dry_run=True) == {
        "renamed": 1,
        "unchanged": 1,
        "new_files": ["sub/z.jpg"],
        "vanished_files": ["a.jpg"],
    }
    assert followed.report() == {"renamed": 1, "unchanged": 1}
    after = followed.images()["sub/z.jpg"]
    assert (after["image_id"], after["label"], after["metadata"]) == (before["image_id"], "rose", {"year": 2026})
    assert (set(followed.images()), followed.trash()) == ({"b.jpg", "sub/z.jpg"}, set())


def test_a_folder_that_is_renamed_is_not_taken_for_files_that_vanished(followed: Followed) -> None:
    for number in range(3):
        followed.put(f"2026/{number}.jpg", number)
    followed.add(max_vanished=0)
    followed.run()
    before = {image["image_id"] for image in followed.images().values()}
    (followed.folder / "2026").rename(followed.folder / "archive")
    last = followed.run()
    assert (last["error"], last["report"]["renamed"]) == (None, 3)
    assert {image["image_id"] for image in followed.images().values()} == before
    (followed.folder / "archive" / "0.jpg").unlink()
    assert "1 of 3 files" in followed.run()["error"]
    assert "1 of 3 files" in followed.run(dry_run=True)["error"]


def test_a_changed_file_replaces_its_image_and_hands_on_what_was_said_of_it(followed: Followed) -> None:
    followed.put("a.jpg", 1)
    followed.add()
    followed.run()
    before = followed.images()["a.jpg"]
    said = {"label": "rose", "metadata": {"year": 2026}, "external_id": "sku-1"}
    followed.api.patch(f"/v1/images/{before['image_id']}", json=said)
    followed.put("a.jpg", 2)
    assert followed.report() == {"changed": 1}
    after = followed.images()["a.jpg"]
    assert after["sha256"] == sha256(image_bytes(2)).hexdigest()
    assert {name: after[name] for name in said} == said
    assert after["image_id"] != before["image_id"]
    assert followed.trash() == {"a.jpg"}


def test_an_image_whose_bytes_another_path_has_stays(followed: Followed) -> None:
    followed.put("a.jpg", 1)
    followed.put("b.jpg", 1)
    followed.put("c.jpg", 2)
    followed.add()
    followed.run()
    followed.put("a.jpg", 3)
    (followed.folder / "b.jpg").rename(followed.folder / "d.jpg")
    followed.put("c.jpg", 1)
    followed.run()
    hashes = {image["sha256"] for image in followed.images().values()}
    assert hashes == {sha256(image_bytes(number)).hexdigest() for number in (1, 3)}
    [gone] = followed.api.get("/v1/trash").get_json()["items"]
    assert gone["sha256"] == sha256(image_bytes(2)).hexdigest()


def test_a_picture_in_place_stays_while_a_copy_of_its_file_does(followed: Followed) -> None:
    source = {"type": "folder", "path": str(followed.folder), "in_place": True}
    followed.put("a.jpg", 1)
    followed.put("b.jpg", 1)
    followed.add(source=source)
    followed.run()
    [first] = followed.images().values()
    followed.put("a.jpg", 2)
    followed.run()
    followed.run()
    hashes = {image["sha256"]: image["image_id"] for image in followed.api.get("/v1/images").get_json()["items"]}
    assert hashes[sha256(image_bytes(1)).hexdigest()] == first["image_id"]
    with transaction() as session:
        places = session.scalars(text("SELECT split_part(blob_key, '#', 3) FROM image ORDER BY 1")).all()
    assert [place.rpartition("/")[2] for place in places] == ["a.jpg", "b.jpg"]
    assert followed.trash() == set()


def test_what_a_run_removed_is_restored_by_its_job(followed: Followed) -> None:
    followed.put("a.jpg", 1)
    followed.put("b.jpg", 2)
    followed.add()
    followed.run()
    (followed.folder / "a.jpg").unlink()
    last = followed.run()
    assert (last["report"]["vanished"], set(followed.images()), followed.trash()) == (1, {"b.jpg"}, {"a.jpg"})
    followed.api.post("/v1/trash:restore", json={"job_id": last["job_id"]})
    end_runs()
    assert set(followed.images()) == {"a.jpg", "b.jpg"}


def test_an_image_that_was_there_before_is_not_the_syncs_to_remove_unless_it_adopts(followed: Followed) -> None:
    for collection, adopt in (("kept", False), ("taken", True)):
        post_image(followed.api, image_bytes(1), collection=collection, name="mine.jpg")
        followed.put("a.jpg", 1)
        followed.add(collection=collection, adopt=adopt)
        followed.run()
        (followed.folder / "a.jpg").unlink()
        followed.run()
        assert set(followed.images(collection)) == (set() if adopt else {"mine.jpg"})


def test_an_image_that_a_person_removed_stays_removed(followed: Followed) -> None:
    followed.put("a.jpg", 1)
    followed.add()
    followed.run()
    followed.api.delete(f"/v1/images/{followed.images()['a.jpg']['image_id']}")
    assert followed.report() == {"unchanged": 1}
    assert followed.images() == {}


def test_an_empty_folder_removes_nothing_until_that_is_allowed(followed: Followed) -> None:
    for number in range(3):
        followed.put(f"{number}.jpg", number)
    followed.add(max_vanished=0.5)
    followed.run()
    away = followed.folder.rename(followed.folder.with_name("away"))
    followed.folder.mkdir()
    last = followed.run()
    assert (last["status"], last["report"]["vanished"], len(followed.images())) == ("failed", 0, 3)
    assert last["error_code"] == "too_many_vanished"
    assert "3 of 3 files are no longer there" in last["error"]
    assert f"umbel sync run {followed.sync} --allow-vanished" in last["error"]
    followed.folder.rmdir()
    gone = followed.run()
    assert "cannot be opened" in gone["error"]
    assert len(followed.images()) == 3
    away.rename(followed.folder)
    assert followed.report() == {"unchanged": 3}
    for path in followed.folder.iterdir():
        path.unlink()
    assert followed.run(allow_vanished=True)["report"]["vanished"] == 3
    assert followed.images() == {}


def test_a_file_that_is_no_picture_fails_once_and_keeps_the_image_that_was_there(followed: Followed) -> None:
    followed.put("a.jpg", 1)
    followed.put("b.jpg", -1)
    followed.add()
    first = followed.run()
    assert (first["status"], first["report"]["failed"]) == ("partial", 1)
    followed.put("a.jpg", -1)
    assert followed.report() == {"unchanged": 1, "failed": 1}
    assert followed.report() == {"unchanged": 2}
    assert set(followed.images()) == {"a.jpg"}
    followed.put("b.jpg", 2)
    assert followed.report() == {"new": 1, "unchanged": 1}


def test_a_file_that_was_changed_just_now_is_read_again(followed: Followed) -> None:
    followed.put("a.jpg", 1)
    os.utime(followed.folder / "a.jpg")
    followed.add()
    followed.run()
    followed.report()
    assert followed.reads == ["a.jpg"]


def test_a_folder_is_followed_as_the_page_says(
    fetch: Callable[..., None], postgres: Postgres, redis: Redis, tmp_path: Path
) -> None:
    photos, scans = tmp_path / "photos", tmp_path / "scans"
    for folder, pictures in ((photos, 2), (scans, 3)):
        folder.mkdir()
        for number in range(pictures):
            (folder / f"{number}.jpg").write_bytes(image_bytes(number))
    ended, config = threading.Event(), settings().model_copy(update={"import_roots": (str(tmp_path),)})

    def work() -> None:
        while not ended.wait(0.02):
            maintenance.sweep(transaction, waker(), config)
            fetch(config=config)
            end_runs()
            embed_all()

    server, worker = Api(tmp_path / "log", UMBEL_IMPORT_ROOTS=str(tmp_path)), threading.Thread(target=work)
    worker.start()
    try:
        printed = run_page("sync.md", server, tmp_path, UNUSED_ID, photos=photos, scans=scans)
    finally:
        ended.set()
        worker.join()
        server.stop()
    assert f"follows {photos} into garden, every 15m.\n2 new.\n" in printed
    assert "3 new.\nnew: 0.jpg\n" in printed
    assert "every 6h" in printed
    assert "2 new 0 unchanged 0 vanished" in printed

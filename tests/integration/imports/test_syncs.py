"""Folders that are followed: what is new, changed, renamed or gone in them is so in the gallery after a run."""

import os
import pkgutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from stack.postgres import Postgres
from stack.redis import Redis
from tests.examples import examples
from tests.images import image_bytes
from tests.integration.callers import UNUSED_ID
from tests.integration.imports.archives import embed_all
from tests.integration.test_server import Api
from tests.integration.test_vector_docs import run as run_page
from tests.integration.uploads import post_image
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.errors import SourceError, SourceUnreachable, Unreadable
from umbel.base.in_place import Location
from umbel.base.settings import Settings, settings
from umbel.base.types import ImageInfo
from umbel.changes.bulk import BulkHandler
from umbel.gallery.deletion import DeletionHandler
from umbel.imports.sources import Entry
from umbel.imports.sources.folder import Folder
from umbel.imports.sync.finishing import SyncHandler
from umbel.jobs.wakeup import waker
from umbel.operations import maintenance

pytestmark = pytest.mark.usefixtures("database", "redis")

LONG_AGO = 1_700_000_000


def end_runs(trash_days: int = 7) -> None:
    """Note what was read, and remove what is gone, as a worker does."""
    SyncHandler(transaction=transaction, wake=lambda _: None).run()
    config = settings().model_copy(update={"trash_days": trash_days})
    BulkHandler(transaction=transaction, settings=config, blobs=blobs(), wake=lambda _: None).run()


@dataclass
class Followed:
    """A folder that a sync follows."""

    api: FlaskClient
    fetch: Callable[..., None]
    folder: Path
    config: Settings
    sync: str = ""
    reads: list[str] = field(default_factory=list)
    _tick: int = 0

    def add(self, **options: Any) -> dict[str, Any]:
        usual = {"source": {"type": "folder", "path": str(self.folder)}, "paused": True, "max_vanished": 1}
        answer = self.api.post("/v1/syncs", json=usual | options)
        assert answer.status_code == 201, answer.text
        self.sync = answer.get_json()["id"]
        return dict(answer.get_json())

    def put(self, name: str, number: int) -> None:
        """The picture of this number at a path, of a time of its own."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(number) if number >= 0 else b"no picture")
        self._tick += 1
        os.utime(path, (LONG_AGO + self._tick, LONG_AGO + self._tick))

    def run(self, **options: Any) -> dict[str, Any]:
        """Run the sync now; what its newest run came to."""
        self.reads.clear()
        begun = self.api.post(f"/v1/syncs/{self.sync}/run", json=options)
        assert begun.status_code == 202, begun.text
        self.work()
        last: dict[str, Any] = self.api.get(f"/v1/syncs/{self.sync}").get_json()["last_run"]
        assert last["job_id"] == begun.get_json()["job_id"]
        return last

    def work(self) -> None:
        self.fetch(config=self.config)
        end_runs()
        embed_all()

    def report(self, **options: Any) -> dict[str, int]:
        """What is not zero of the report of a run."""
        return {name: value for name, value in self.run(**options)["report"].items() if value}

    def images(self, collection: str = "default") -> dict[str, dict[str, Any]]:
        found = self.api.get("/v1/images", query_string={"collection": collection, "limit": 100}).get_json()["items"]
        return {image["name"]: image for image in found}

    def trash(self) -> set[str]:
        return {image["name"] for image in self.api.get("/v1/trash").get_json()["items"]}


@pytest.fixture
def followed(api: FlaskClient, fetch: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Followed:
    folder = tmp_path / "pictures"
    folder.mkdir()
    config = settings().model_copy(update={"import_roots": (str(tmp_path),), "source_tries": 1})
    monkeypatch.setattr("api.syncs.settings", lambda: config)
    made = Followed(api, fetch, folder, config)
    read = Folder.read

    def noted(self: Folder, locator: str) -> bytes:
        made.reads.append(locator)
        return read(self, locator)

    monkeypatch.setattr(Folder, "read", noted)
    return made


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


def test_nothing_is_removed_when_the_listing_breaks_off_or_a_folder_cannot_be_read(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("a.jpg", "b.jpg", "z/c.jpg", "z/d.jpg")):
        followed.put(name, number)
    followed.add()
    followed.run()
    (followed.folder / "a.jpg").unlink()
    walk = Folder.entries

    def breaking(error: Exception) -> Any:
        def entries(self: Folder, after: str | None = None) -> Iterator[Any]:
            yield from [entry for entry in walk(self, after) if not entry.name.startswith("z/")]
            raise error

        return entries

    with monkeypatch.context() as patch:
        for error in (SourceError("It broke."), SourceUnreachable("It is away.")):
            patch.setattr(Folder, "entries", breaking(error))
            last = followed.run()
            assert error.detail in last["error"]
            assert len(followed.images()) == 4

    def closed(self: Folder, after: str | None = None) -> Iterator[Any]:
        yield from [entry for entry in walk(self, after) if not entry.name.startswith("z/")]
        yield Entry("z", "z", "z", rejected=Unreadable("It may not be read."))

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "entries", closed)
        assert followed.report() == {"unchanged": 3, "vanished": 1, "failed": 1}
        assert set(followed.images()) == {"b.jpg", "z/c.jpg", "z/d.jpg"}
        assert followed.report() == {"unchanged": 4}  # told once
    assert followed.report() == {"unchanged": 3}


def test_a_file_that_is_moved_while_the_source_is_listed_keeps_its_image(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed.put("b/a.jpg", 1)
    followed.add()
    followed.run()
    before = followed.images()["b/a.jpg"]
    walk, moved = Folder.entries, []

    def entries(self: Folder, after: str | None = None) -> Iterator[Any]:
        found = list(walk(self, after))
        if not moved:  # the place that it comes to has been listed, the one that it leaves has not
            moved.append((followed.folder / "b/a.jpg").rename(followed.folder / "a.jpg"))
            found = []
        yield from found

    monkeypatch.setattr(Folder, "entries", entries)
    assert followed.report() == {"renamed": 1}
    assert followed.images()["a.jpg"]["image_id"] == before["image_id"]


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


def test_a_cancelled_run_keeps_what_it_has_and_removes_nothing(followed: Followed) -> None:
    followed.put("a.jpg", 1)
    followed.add()
    followed.run()
    followed.put("b.jpg", 2)
    (followed.folder / "a.jpg").unlink()
    begun = followed.api.post(f"/v1/syncs/{followed.sync}/run", json={}).get_json()
    assert followed.api.post(f"/v1/syncs/{followed.sync}/run", json={}).status_code == 409
    followed.api.post(f"/v1/jobs/{begun['job_id']}/cancel")
    followed.work()
    assert set(followed.images()) == {"a.jpg"}
    assert followed.report() == {"new": 1, "vanished": 1}


def test_what_failed_in_a_run_and_is_retried_is_known_afterwards(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> bytes:
        raise Unreadable("It may not be read.")

    followed.put("a.jpg", 1)
    followed.add()
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "read", forbidden)
        last = followed.run()
    assert last["report"]["failed"] == 1
    followed.api.post(f"/v1/jobs/{last['job_id']}/retry")
    followed.work()
    assert set(followed.images()) == {"a.jpg"}
    (followed.folder / "a.jpg").unlink()
    followed.run()
    assert followed.images() == {}


PLACES = (
    "umbel.imports.listing.comparing.note_found",
    "umbel.imports.listing.comparing.end_listing",
    "umbel.imports.sync.finishing.note_read",
    "umbel.imports.sync.finishing.take_away",
    "umbel.imports.sync.finishing.end_run",
    "umbel.changes.bulk.apply",
)


def test_a_run_that_is_killed_anywhere_is_taken_up_again(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed right before the commit of each of its steps, with a new, a changed, a renamed and a vanished file."""

    def killing(place: str) -> Callable[..., Any]:
        real = pkgutil.resolve_name(place)

        def step(*arguments: Any, **named: Any) -> Any:
            if real(*arguments, **named) is not False:
                raise MemoryError

        return step

    followed.add()
    followed.put("changed.jpg", 0)
    followed.put("0.jpg", 1)
    followed.put("gone-0.jpg", 2)
    followed.run()
    for number, place in enumerate(PLACES):
        kept = followed.images()[f"{number}.jpg"]
        followed.put("changed.jpg", 10 + number)
        followed.put(f"gone-{number + 1}.jpg", 20 + number)
        (followed.folder / f"{number}.jpg").rename(followed.folder / f"{number + 1}.jpg")
        (followed.folder / f"gone-{number}.jpg").unlink()
        with monkeypatch.context() as patch:
            patch.setattr(place, killing(place))
            with pytest.raises(MemoryError):
                followed.run()
        followed.work()
        images = followed.images()
        assert set(images) == {"changed.jpg", f"{number + 1}.jpg", f"gone-{number + 1}.jpg"}, place
        assert images[f"{number + 1}.jpg"]["image_id"] == kept["image_id"]
        last = followed.api.get(f"/v1/syncs/{followed.sync}").get_json()["last_run"]
        counted = {kind: last["report"][kind] for kind in ("new", "changed", "renamed", "vanished", "failed")}
        assert (counted, last["status"]) == (
            {"new": 1, "changed": 1, "renamed": 1, "vanished": 1, "failed": 0},
            "succeeded",
        )


def test_of_runs_in_which_nothing_happened_the_newest_is_kept(followed: Followed) -> None:
    followed.put("a.jpg", 1)
    followed.add()
    first = followed.run()["job_id"]
    runs = [followed.run()["job_id"] for _ in range(3)]
    kept = [job["id"] for job in followed.api.get("/v1/jobs", query_string={"type": "sync"}).get_json()["items"]]
    assert kept == [runs[-1], first]


def test_a_sync_goes_with_its_collection(followed: Followed) -> None:
    followed.put("a.jpg", 1)
    followed.add(collection="garden")
    followed.run()
    assert followed.api.delete("/v1/collections/garden").status_code == 202
    assert followed.api.get("/v1/syncs").get_json()["items"] == []
    assert followed.api.post(f"/v1/syncs/{followed.sync}/run", json={}).status_code == 404
    DeletionHandler(transaction=transaction, blobs=blobs()).run()
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM sync_file")) == 0


def test_the_sweep_begins_due_runs_one_at_a_time_and_not_of_paused_syncs(followed: Followed) -> None:
    def sweep() -> int:
        maintenance.sweep(transaction, waker(), settings())
        return len(followed.api.get("/v1/jobs", query_string={"type": "sync"}).get_json()["items"])

    def due() -> None:
        with transaction() as session:
            session.execute(text("UPDATE sync SET next_run = now()"))

    followed.put("a.jpg", 1)
    assert followed.add(every_seconds=3600, paused=False)["last_run"]["status"] == "queued"
    due()
    assert sweep() == 1  # the first is not done
    followed.work()
    assert (set(followed.images()), sweep()) == ({"a.jpg"}, 2)
    followed.work()
    followed.api.post(f"/v1/syncs/{followed.sync}/pause")
    due()
    assert sweep() == 2
    followed.api.post(f"/v1/syncs/{followed.sync}/resume")
    assert (sweep(), sweep()) == (3, 3)
    followed.work()
    assert sweep() == 2  # not due; and of the two in which nothing happened one is kept
    followed.api.patch(f"/v1/syncs/{followed.sync}", json={"every_seconds": 60})
    with transaction() as session:
        assert session.scalar(text("SELECT next_run < now() + interval '2 min' FROM sync"))


def test_a_removed_sync_leaves_its_images_and_its_run_ends(followed: Followed) -> None:
    followed.put("a.jpg", 1)
    followed.add()
    begun = followed.api.post(f"/v1/syncs/{followed.sync}/run", json={}).get_json()
    assert followed.api.delete(f"/v1/syncs/{followed.sync}").status_code == 204
    followed.work()
    assert followed.api.get(f"/v1/jobs/{begun['job_id']}").get_json()["finished_at"] is not None
    assert followed.api.get(f"/v1/syncs/{followed.sync}").status_code == 404


def test_what_cannot_be_followed_is_refused(followed: Followed, tmp_path: Path) -> None:
    followed.add()
    again = followed.api.post("/v1/syncs", json={"source": {"type": "folder", "path": str(followed.folder)}})
    assert (again.status_code, again.get_json()["code"]) == (409, "conflict")
    for source in ({"type": "folder", "path": "/etc"}, {"type": "folder", "path": str(tmp_path / "no")}):
        refused = followed.api.post("/v1/syncs", json={"source": source})
        assert (refused.status_code, refused.get_json()["code"]) == (422, "source_error")
    assert followed.api.post("/v1/syncs", json={"source": {"type": "sample"}}).status_code == 422
    for path in ("run", "pause", "resume"):
        assert followed.api.post(f"/v1/syncs/{UNUSED_ID}/{path}", json={}).status_code == 404
    assert followed.api.delete(f"/v1/syncs/{UNUSED_ID}").status_code == 404


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


class Memory:
    """A source of the test's own: {path: content}, of which a content that is None cannot be read."""

    def __init__(self, files: dict[str, int], size: int) -> None:
        self.files, self.size = files, size

    def entries(self, after: str | None = None) -> Iterator[Entry]:
        for path, content in sorted(self.files.items()):
            if after is None or path > after:
                yield Entry(path, path, path, location=Location(path, str(content)))

    def read(self, locator: str) -> bytes:
        return b"%d" % self.files[locator]

    def close(self) -> None:
        pass


def looked_at(*_: object) -> "Future[ImageInfo]":
    """In place of decoding."""
    future: Future[ImageInfo] = Future()
    future.set_result(ImageInfo("image/jpeg", 1, 1))
    return future


NUMBERS = count()
HASHES = text("""
    SELECT image.id, encode(sha256, 'hex') AS hash FROM image JOIN sync USING (collection_id) WHERE sync.id = :sync
""")
KNOWN = text("SELECT locator, image_id FROM sync_file WHERE sync_id = :sync")
FILES = st.dictionaries(st.sampled_from(["a", "b", "c/d", "c/e", "f"]), st.integers(0, 4), max_size=5)


@examples(25)
@given(states=st.lists(FILES, min_size=2, max_size=3), steps=st.integers(1, 3))
def test_after_each_run_the_gallery_is_the_source(
    followed: Followed, monkeypatch: pytest.MonkeyPatch, states: list[dict[str, int]], steps: int
) -> None:
    """Whatever comes, changes, moves and goes: the bytes are those of the source, and what stays keeps its image."""
    followed.add(collection=f"c{next(NUMBERS)}")
    ids: dict[str, str] = {}
    for files in states:
        source = Memory(files, steps)
        with monkeypatch.context() as patch:
            patch.setattr("umbel.imports.fetching.open_source", lambda *_, **__: source)  # noqa: B023
            patch.setattr("worker.decoders.WorkerDecoders.inspect", looked_at)
            patch.setattr("umbel.imports.listing.CHUNK", steps)
            patch.setattr("umbel.imports.sync.finishing.BATCH", steps)
            followed.run()
        with transaction() as session:
            rows = session.execute(HASHES, {"sync": followed.sync}).all()
            known = dict(session.execute(KNOWN, {"sync": followed.sync}).all())
        now = {row.hash: str(row.id) for row in rows}
        hashes = {path: sha256(b"%d" % content).hexdigest() for path, content in files.items()}
        assert set(now) == set(hashes.values())
        assert {path: str(image) for path, image in known.items()} == {path: now[one] for path, one in hashes.items()}
        assert {one: now[one] for one in now.keys() & ids.keys()} == {one: ids[one] for one in now.keys() & ids.keys()}
        ids = now

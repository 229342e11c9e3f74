"""Runs of syncs: begun when they are due, broken off, cancelled, killed, tried again."""

import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.integration.callers import UNUSED_ID
from tests.integration.imports.followed import Followed
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.errors import SourceError, SourceUnreachable, Unreadable
from umbel.base.settings import settings
from umbel.gallery.deletion import DeletionHandler
from umbel.imports.sources import Entry
from umbel.imports.sources.folder import Folder
from umbel.jobs.wakeup import waker
from umbel.operations import maintenance

pytestmark = pytest.mark.usefixtures("database", "redis")


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

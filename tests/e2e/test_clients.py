"""Our client against a stack that runs."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from client import InvalidRequest, NotFound, NotIndexed, StillRunning, Umbel
from tests.e2e.conftest import Stack
from tests.pictures import picture

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PATIENCE = 60.0


@pytest.fixture(scope="module")
def running(stack: Stack) -> Stack:
    stack.umbel("up", "--detach")
    return stack


@pytest.fixture
def umbel(running: Stack) -> Iterator[Umbel]:
    with running.client() as client:
        yield client


def test_a_picture_is_uploaded_waited_for_found_changed_and_removed(umbel: Umbel) -> None:
    image = umbel.images.upload(picture(1), label="rose", metadata={"year": 2026}).wait(PATIENCE)
    assert (image.status, image.label, image.metadata) == ("indexed", "rose", {"year": 2026})
    assert umbel.images.upload(picture(1)).status == "duplicate"

    for found in (umbel.search(picture(1), k=1, filter={"label": ["rose"]}), umbel.search(image_id=image.image_id)):
        assert all(match.label == "rose" or match.image_id != image.image_id for match in found.matches)
    assert umbel.search(picture(1), k=1).matches[0].image_id == image.image_id
    assert umbel.identify([picture(1)]).results[0].label == "rose"
    assert umbel.images.thumbnail(image.image_id).startswith(b"\xff\xd8")
    assert umbel.images.file(image.image_id).startswith(b"\xff\xd8")

    assert umbel.images.update(image.image_id, label=None).label is None
    assert umbel.images.get(image.image_id).metadata == {"year": 2026}
    umbel.images.delete(image.image_id)
    with pytest.raises(NotFound):
        umbel.images.get(image.image_id)


def test_a_folder_is_one_job_of_what_is_new(umbel: Umbel, tmp_path: Path) -> None:
    for number in range(12):
        folder = tmp_path / f"kind-{number % 2}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(picture(100 + number))
    (tmp_path / "kind-0" / "broken.jpg").write_bytes(picture(50)[:40])
    (tmp_path / "notes.txt").write_text("no picture")
    told: list[int] = []

    sent = umbel.images.upload_folder(
        tmp_path, collection="folder", label_from_folder=True, concurrency=3, on_progress=told.append
    )
    assert (sent.queued, sent.known, list(sent.refused)) == (12, 0, [f"{tmp_path.name}/kind-0/broken.jpg"])
    assert sum(told) == 13
    job = sent.wait(PATIENCE)
    assert job is not None
    assert (job.counts.indexed, job.counts.failed) == (12, 1)
    assert {image.label for image in umbel.images.list(collection="folder", page_size=5)} == {"kind-0", "kind-1"}

    again = umbel.images.upload_folder(tmp_path, collection="folder")
    assert (again.queued, again.known) == (0, 12)
    assert umbel.collections.get("folder").images == 12
    assert umbel.collections.delete("folder").wait(PATIENCE).status == "succeeded"


def test_what_cannot_be_had_is_said_by_type(umbel: Umbel) -> None:
    with pytest.raises(NotFound):
        umbel.jobs.get(UUID(int=7))
    with pytest.raises(InvalidRequest) as caught:
        umbel.search(picture(1), k=0)
    assert "k" in next(iter(caught.value.errors.values()))
    job_id = umbel.imports.open()
    waiting = umbel.jobs.work(job_id)
    with pytest.raises(StillRunning):
        waiting.wait(0.1)
    paused = umbel.jobs.pause(job_id)
    assert paused.paused
    held = umbel.images.upload(picture(60), job_id=job_id)
    umbel.jobs.cancel(job_id)
    with pytest.raises(NotIndexed):
        held.wait(PATIENCE)

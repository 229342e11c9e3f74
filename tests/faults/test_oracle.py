"""The oracle is content with a gallery that is as promised, and names what is not."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from tests.faults.oracle import abandoned_jobs, violations
from tests.faults.snapshot import ImageRow, ItemRow, JobRow, Snapshot

Taken = dict[str, UUID]


def healthy(pictures: int = 3) -> tuple[Snapshot, Taken]:
    """A collection in which all went well: one import of some pictures."""
    images = [ImageRow(uuid4(), f"{n:064x}", f"pictures/c/{n}") for n in range(pictures)]
    snapshot = Snapshot(
        images=images,
        items=[ItemRow(uuid4(), image.id, "indexed", None, None) for image in images],
        jobs=[JobRow(uuid4(), "import", "succeeded", True, pictures)],
        embeddings=Counter(image.id for image in images),
        blobs={image.blob_key: image.sha256 for image in images},
    )
    return snapshot, {image.sha256: image.id for image in images}


def test_all_went_well() -> None:
    assert violations(*healthy()) == []


def lose_image(snapshot: Snapshot, taken: Taken) -> None:
    image = snapshot.images.pop()
    del snapshot.blobs[image.blob_key], snapshot.embeddings[image.id]


def take_image_for_another(snapshot: Snapshot, taken: Taken) -> None:
    taken[snapshot.images[0].sha256] = uuid4()


def take_nobodys_image(snapshot: Snapshot, taken: Taken) -> None:
    del taken[snapshot.images[0].sha256]


def fail_item(snapshot: Snapshot, taken: Taken) -> None:
    snapshot.items[0] = replace(snapshot.items[0], state="failed", error="poison: Given up.")


def leave_item_pending(snapshot: Snapshot, taken: Taken) -> None:
    snapshot.items[0] = replace(snapshot.items[0], state="pending")


def leave_item_leased(snapshot: Snapshot, taken: Taken) -> None:
    snapshot.items[0] = replace(snapshot.items[0], lease_owner="embed@gone")


def lose_embedding(snapshot: Snapshot, taken: Taken) -> None:
    del snapshot.embeddings[snapshot.images[0].id]


def double_embedding(snapshot: Snapshot, taken: Taken) -> None:
    snapshot.embeddings[snapshot.images[0].id] = 2


def lose_blob(snapshot: Snapshot, taken: Taken) -> None:
    del snapshot.blobs[snapshot.images[0].blob_key]


def damage_blob(snapshot: Snapshot, taken: Taken) -> None:
    snapshot.blobs[snapshot.images[0].blob_key] = "0" * 63 + "f"


def leave_orphan(snapshot: Snapshot, taken: Taken) -> None:
    snapshot.blobs["pictures/c/orphan"] = "ff"


def leave_job_running(snapshot: Snapshot, taken: Taken) -> None:
    snapshot.jobs[0] = replace(snapshot.jobs[0], status="running")


def leave_job_open(snapshot: Snapshot, taken: Taken) -> None:
    snapshot.jobs[0] = replace(snapshot.jobs[0], closed=False)


def miscount(snapshot: Snapshot, taken: Taken) -> None:
    snapshot.miscounts.append("job 1: total 3, …")


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lose_image, "accepted, but gone"),
        (take_image_for_another, "accepted, but gone"),
        (take_nobodys_image, "never accepted"),
        (fail_item, "failed though good"),
        (fail_item, "accepted, but not indexed"),
        (leave_item_pending, "is pending"),
        (leave_item_leased, "still leased to embed@gone"),
        (lose_embedding, "has 0 of the active model version"),
        (double_embedding, "has 2 of the active model version"),
        (lose_blob, "is missing"),
        (damage_blob, "is damaged"),
        (leave_orphan, "orphan blobs: pictures/c/orphan"),
        (leave_job_running, "is running"),
        (leave_job_open, "and open"),
        (miscount, "counts: job 1"),
    ],
)
def test_harm_is_named(harm: Callable[[Snapshot, Taken], None], named: str) -> None:
    snapshot, taken = deepcopy(healthy())
    harm(snapshot, taken)
    assert any(named in each for each in violations(snapshot, taken)), violations(snapshot, taken)


def test_much_harm_of_one_kind_is_counted() -> None:
    snapshot, taken = healthy(12)
    snapshot.blobs.clear()
    assert violations(snapshot, taken)[-1] == "blobs: … and 7 more"


def test_an_empty_open_import_is_left_to_the_sweep() -> None:
    snapshot, taken = healthy()
    left = JobRow(uuid4(), "import", "queued", False, 0)
    snapshot.jobs.append(left)
    assert violations(snapshot, taken) == []
    assert abandoned_jobs(snapshot) == [left.id]


def test_an_empty_open_import_with_a_source_is_not() -> None:
    snapshot, taken = healthy()
    snapshot.jobs.append(JobRow(uuid4(), "import", "queued", False, 0, sourced=True))
    assert any("and open" in each for each in violations(snapshot, taken))

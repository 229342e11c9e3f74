"""Reconciliation finds each mismatch, that one alone, and repairs it; work in flight is none."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from stack.redis import Redis
from tests.command_line import umbel_here
from tests.images import image_bytes
from tests.integration import damage
from tests.integration.damage import LOST, REPAIRED, Gallery, partition, run
from tests.integration.factory import DIM
from tests.integration.uploads import add_image
from umbel.base import tallies
from umbel.base.blobs import BlobInfo, Blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.tallies import Counted
from umbel.base.types import JobType, Queue
from umbel.gallery import blob_cleanups, images
from umbel.gallery.upload import Upload
from umbel.imports import source_rows
from umbel.imports.imports import open_import
from umbel.jobs import claims, items, jobs
from umbel.jobs.wakeup import waker
from umbel.models import lifecycle, partitions, versions
from umbel.operations.job_actions import cancel_job

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def amid(tmp_path: Path, redis: Redis) -> Gallery:
    made = Gallery(Blobs((tmp_path / "blobs").as_uri()), tmp_path)
    made.register(1)
    made.images = [made.upload(seed) for seed in range(3)]
    made.work()
    return made


@pytest.mark.parametrize(("breaking", "code"), REPAIRED, ids=[breaking.__name__ for breaking, _ in REPAIRED])
def test_a_mismatch_is_found_alone_and_repaired(amid: Gallery, breaking: Callable[[Gallery], None], code: str) -> None:
    breaking(amid)
    found, repaired, left = amid.find(), amid.find(repair=True), amid.find()
    amid.work()
    assert (found, repaired, left, amid.find()) == ({code: 1}, {code: 1}, {}, {})


@pytest.mark.parametrize(("breaking", "code"), LOST, ids=[breaking.__name__ for breaking, _ in LOST])
def test_what_is_lost_is_found_and_left_alone(amid: Gallery, breaking: Callable[[Gallery], None], code: str) -> None:
    breaking(amid)
    assert (amid.find(), amid.find(repair=True), amid.find()) == ({code: 1}, {}, {code: 1})


def test_a_gallery_at_rest_has_nothing_amiss(amid: Gallery) -> None:
    assert amid.find() == {}


def test_an_empty_database_and_an_empty_store_have_nothing_amiss(tmp_path: Path, redis: Redis) -> None:
    assert Gallery(Blobs(tmp_path.as_uri()), tmp_path).find(repair=True) == {}


def test_repairing_a_gallery_at_rest_changes_nothing(amid: Gallery) -> None:
    before = sorted(blob.key for blob in amid.blobs.list("pictures"))
    assert amid.find(repair=True) == {}
    assert sorted(blob.key for blob in amid.blobs.list("pictures")) == before
    with transaction() as session:
        assert session.execute(text("SELECT count(*) FROM job")).scalar_one() == 3


def test_counting_again_gives_the_job_its_status_back(amid: Gallery) -> None:
    damage.miscount_pending(amid)
    amid.find(repair=True)
    with transaction() as session:
        assert {job.status for job in jobs.list_jobs(session, status=None, job_type=None, before=None, limit=9)} == {
            "succeeded"
        }


def test_every_kind_of_count_is_compared_and_corrected(amid: Gallery) -> None:
    run("INSERT INTO tally SELECT unnest(:counted), 'bulk', 2 FROM generate_series(1, 3)", counted=list(Counted))
    assert amid.find() == {"wrong_tally": len(Counted)}
    assert (amid.find(repair=True), amid.find()) == ({"wrong_tally": len(Counted)}, {})
    with transaction() as session:
        assert [tallies.count(session, counted, ["bulk"]) for counted in Counted] == [0] * len(Counted)


def test_counts_of_vectors_on_their_way_out_are_not_wrong(amid: Gallery) -> None:
    with transaction() as session:
        retired = versions.get_active_version(session).id
    amid.register(2)
    amid.find(repair=True)
    amid.work()
    run("UPDATE model_version SET state = 'retired', retired_at = now() WHERE id = :id", id=retired)
    run(f"ALTER TABLE embedding DETACH PARTITION {partitions.partition_name(retired)}")
    assert amid.find() == {}
    assert lifecycle.drop_retired(transaction, seconds=0) == [retired]
    assert amid.find() == {}


def test_a_model_without_embeddings_has_all_of_them_queued_in_one_job(amid: Gallery) -> None:
    amid.register(2)
    found, repaired = amid.find(), amid.find(repair=True)
    with transaction() as session:
        (job,) = jobs.list_jobs(session, status=None, job_type=JobType.REPAIR, before=None, limit=9)
    assert (found, repaired) == ({"no_embedding": 3}, {"no_embedding": 3})
    assert (job.closed, job.pending, job.total) == (True, 3, 3)


def test_a_vector_of_another_width_goes_before_the_index_is_built(amid: Gallery) -> None:
    with transaction() as session:
        version = versions.get_active_version(session)
        (check,) = session.scalars(
            text("SELECT conname FROM pg_constraint WHERE conrelid = CAST(:name AS regclass) AND contype = 'c'"),
            {"name": partition()},
        )
    run(f"DROP INDEX {partition()}_hnsw")
    run(f"ALTER TABLE {partition()} DROP CONSTRAINT {check}")
    run("UPDATE embedding SET vector = '[1,0]' WHERE image_id = :id", id=amid.images[0])
    assert (version.dim, amid.find()) == (DIM, {"wrong_vector": 1, "no_index": 1})
    assert amid.find(repair=True) == {"wrong_vector": 1, "no_index": 1}
    amid.work()
    assert amid.find() == {}


def test_a_released_item_can_be_claimed_at_once(amid: Gallery) -> None:
    damage.orphan_an_item(amid)
    amid.find(repair=True)
    with transaction() as session:
        (item,) = claims.claim_items(session, Queue.SINGLE, owner="me", limit=9, lease_seconds=60)
    assert item.attempts == 1


def test_a_repair_rings_for_what_it_queued(amid: Gallery, redis: Redis) -> None:
    damage.lose_an_embedding(amid)
    bell = waker()._redis
    bell.delete(Queue.BULK)
    amid.find(repair=True)
    assert bell.llen(Queue.BULK) == 1


# Work in flight, and states that are meant, are no mismatches.


def test_pending_failed_and_cancelled_images_are_not_missed(amid: Gallery) -> None:
    accepted = [add_image(transaction, amid.blobs, settings(), Upload(image_bytes(seed))) for seed in (7, 8, 9)]
    with transaction() as session:
        failed = session.execute(text("SELECT id FROM job_item WHERE job_id = :job"), {"job": accepted[1].job_id})
        items.fail_items(session, {failed.scalar_one(): ("corrupt_image", "It is broken.")})
    assert accepted[2].job_id is not None
    cancel_job(transaction, accepted[2].job_id)
    assert amid.find() == {}


def test_bytes_of_an_upload_that_is_not_committed_are_not_stray(amid: Gallery) -> None:
    key = blob_cleanups.blob_key("default", b"x" * 32)
    with transaction() as session:
        cleanups = blob_cleanups.insert_cleanups(session, [key])
    with transaction() as session:
        blob_cleanups.take_cleanups(session, cleanups)
        blob_cleanups.lock_blobs(session, [key])
        amid.blobs.put(key, b"bytes")
        assert amid.find(repair=True) == {}
    assert amid.blobs.exists(key)


def test_an_archive_on_its_way_in_is_not_stray(amid: Gallery) -> None:
    with transaction() as session:
        blob_cleanups.insert_cleanups(session, ["imports/aa"], patience_seconds=3600)
    amid.blobs.put("imports/aa", b"bytes")
    assert amid.find(repair=True) == {}


def test_an_archive_that_an_import_reads_is_not_stray(amid: Gallery) -> None:
    amid.blobs.put("imports/aa", b"bytes")
    with transaction() as session:
        job = open_import(session, "default")
        spec = {"type": "zip", "blob_key": "imports/aa"}
        source_rows.insert_source(session, job, spec, label_from_folder=False, dry_run=False)
    assert amid.find(repair=True) == {}


def test_an_index_that_a_load_is_spared_is_not_missed(amid: Gallery) -> None:
    with transaction() as session:
        job = open_import(session, "default")
        jobs.change_job(session, job, indexing=True)
    damage.drop_the_index(amid)
    assert amid.find() == {}


def test_an_index_that_a_load_has_just_made_due_is_not_missed(amid: Gallery) -> None:
    run("UPDATE job SET indexing = true")
    damage.drop_the_index(amid)
    assert amid.find() == {}


class Stale(Blobs):
    """A store in which something happens after all was listed, and before anybody looks at the list."""

    happening: Callable[[], None]

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        found = list(super().list(prefix))
        if prefix == "pictures":
            self.happening()
        yield from found


def test_what_comes_and_goes_during_the_listing_is_no_mismatch(amid: Gallery, tmp_path: Path) -> None:
    def happening() -> None:
        images.remove_image(transaction, amid.blobs, amid.images[0])
        run("UPDATE image SET created_at = now() - interval '1 h' WHERE id = :id", id=amid.upload(9))

    stale = Stale((tmp_path / "blobs").as_uri())
    stale.happening = happening
    assert amid.find(blobs=stale) == {}


class Fleeting(Stale):
    """As above, and the image that came is removed before its bytes are asked for."""

    leaving: Callable[[], None]

    def size(self, key: str) -> int:
        self.leaving()
        return super().size(key)


def test_an_image_that_is_removed_while_its_bytes_are_looked_for_is_no_mismatch(amid: Gallery, tmp_path: Path) -> None:
    came: list[UUID] = []

    def happening() -> None:
        came.append(amid.upload(9))
        run("UPDATE image SET created_at = now() - interval '1 h' WHERE id = :id", id=came[0])

    fleeting = Fleeting((tmp_path / "blobs").as_uri())
    fleeting.happening = happening
    fleeting.leaving = lambda: images.remove_image(transaction, amid.blobs, came.pop()) if came else None
    assert (amid.find(blobs=fleeting), came) == ({}, [])


def test_nothing_is_amiss_beside_uploads_work_and_removals(amid: Gallery) -> None:
    stopping = threading.Event()
    errors: list[BaseException] = []

    def traffic(first: int) -> None:
        try:
            seed = first
            while not stopping.is_set():
                seed += 1
                added = [amid.upload(seed), amid.upload(seed + 500_000)]
                amid.work()
                images.remove_image(transaction, amid.blobs, added[0])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=traffic, args=(first,)) for first in (10_000, 20_000)]
    for thread in threads:
        thread.start()
    try:
        seen = [amid.find(repair=bool(n % 2), deep=n == 4) for n in range(8)]
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    assert (errors, seen, amid.find()) == ([], [{}] * 8, {})


# The command.


def umbel_reconcile(broken: Gallery, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return umbel_here("reconcile", *arguments, UMBEL_BLOB_URL=(broken.folder / "blobs").as_uri())


def test_the_command_tells_finds_and_repairs_for_machines(amid: Gallery) -> None:
    damage.leave_bytes(amid)
    seen = [umbel_reconcile(amid, "--json"), umbel_reconcile(amid, "--json", "--repair")]
    answers = [json.loads(one.stdout) for one in seen]
    strays = [next(check for check in answer["checks"] if check["code"] == "stray_blob") for answer in answers]
    assert [(one.returncode, one.stderr, answer["ok"]) for one, answer in zip(seen, answers, strict=True)] == [
        (1, "", False),
        (0, "", True),
    ]
    assert [(stray["found"], stray["repaired"], stray["examples"]) for stray in strays] == [
        (1, 0, ["pictures/default/aa/aa"]),
        (1, 1, ["pictures/default/aa/aa"]),
    ]


def test_the_command_tells_people_what_to_do(amid: Gallery) -> None:
    damage.lose_bytes(amid)
    seen = umbel_reconcile(amid)
    assert (seen.returncode, str(amid.images[0]) in seen.stdout, "backup" in seen.stdout) == (1, True, True)

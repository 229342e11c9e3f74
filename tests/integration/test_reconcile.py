"""Reconciliation finds each mismatch, that one alone, and repairs it; work in flight is none."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.blobs import BlobInfo, Blobs
from core.doorbell import doorbell
from core.settings import settings
from core.types import ItemState, JobType, Lane
from db import blob_notes, claims, embeddings, images, items, jobs, model_versions, sources
from db.session import autocommit, transaction
from services import gallery
from services import model_versions as models
from services.imports import open_import
from services.ingest import Upload, add_image, blob_key
from services.jobs import cancel_job
from services.mismatches import Context
from services.reconciliation import reconcile
from stack.redis import Redis
from tests.integration.factory import DIM, unit
from tests.pictures import picture

pytestmark = pytest.mark.usefixtures("database")


@contextmanager
def unwatched(doing: str, total: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda done: None


@dataclass
class Gallery:
    """A service at rest: an active model, three images embedded, nothing amiss."""

    blobs: Blobs
    folder: Path
    images: list[UUID] = field(default_factory=list)

    def register(self, seed: int, *, activate: bool = True) -> str:
        """A model version with its files. Returns its hash."""
        weights, card = self.folder / f"{seed}.safetensors", self.folder / f"{seed}.json"
        weights.write_bytes(b"weights %d" % seed)
        card.write_text("{}")
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        candidate = models.Candidate(weights, card, f"model {seed}", "none", DIM, digest, "none", {})
        with transaction() as session:
            version = models.register(session, self.blobs, candidate)
            if activate:
                model_versions.activate_version(session, version.id)
        return digest

    def upload(self, seed: int) -> UUID:
        return add_image(transaction, self.blobs, settings(), Upload(picture(seed))).image_id

    def work(self) -> None:
        """Embed what is queued, as a worker does."""
        for lane in (Lane.SINGLE, Lane.BULK):
            with transaction() as session:
                claimed = claims.claim_items(session, lane, owner="me", limit=1000, lease_seconds=60)
            with transaction() as session:
                ids = [item.id for item in claimed]
                items.lock_items(session, ids)
                done = items.finish_items(session, ids, ItemState.INDEXED)
                owners = [(item.image_id, item.collection_id) for item in claimed if item.id in done]
                vectors = np.stack([unit(owner.int % 1000) for owner, _ in owners]) if owners else np.empty((0, DIM))
                version = model_versions.get_active_version(session)
                embeddings.upsert_embeddings(session, version.id, owners, vectors)

    def key(self, image: int = 0) -> str:
        with transaction() as session:
            return images.get_image(session, self.images[image]).blob_key

    def find(self, *, repair: bool = False, deep: bool = True, blobs: Blobs | None = None) -> dict[str, int]:
        """{code: how many} of what is amiss and was not repaired, or with `repair` of what was."""
        context = Context(transaction, blobs or self.blobs, doorbell(), settings(), unwatched, repair=repair, deep=deep)
        found = {kind.code: kind.repaired if repair else kind.found for kind in reconcile(context)}
        return {code: count for code, count in found.items() if count}


@pytest.fixture
def amid(tmp_path: Path, redis: Redis) -> Gallery:
    made = Gallery(Blobs((tmp_path / "blobs").as_uri()), tmp_path)
    made.register(1)
    made.images = [made.upload(seed) for seed in range(3)]
    made.work()
    return made


def run(statement: str, **values: object) -> None:
    with transaction() as session:
        session.execute(text(statement), values)


def let_age(job: object) -> None:
    """Make a job one that nothing has happened to for an hour."""
    with transaction() as session:
        session.execute(text("ALTER TABLE job DISABLE TRIGGER job_times"))
        session.execute(text("UPDATE job SET changed_at = now() - interval '1 h' WHERE id = :id"), {"id": job})
        session.execute(text("ALTER TABLE job ENABLE TRIGGER job_times"))


def partition() -> str:
    with transaction() as session:
        return f"embedding_{model_versions.get_active_version(session).id.hex}"


# Each breaks one thing.


def miscount(broken: Gallery) -> None:
    run("UPDATE job SET indexed = indexed + 1, total = total + 1 WHERE id = (SELECT id FROM job LIMIT 1)")


def miscount_pending(broken: Gallery) -> None:
    run("UPDATE job SET indexed = 0, pending = 1 WHERE id = (SELECT id FROM job LIMIT 1)")


def seal_too_early(broken: Gallery) -> None:
    with transaction() as session:
        job = open_import(session, "default")
        sources.insert_source(session, job, {"type": "folder"}, label_from_folder=False, dry_run=False)
        jobs.seal_job(session, job)


def leave_a_source_of_a_cancelled_job(broken: Gallery) -> None:
    seal_too_early(broken)
    run("UPDATE job SET cancelling = true WHERE type = 'import'")


def abandon_a_job(broken: Gallery) -> None:
    with transaction() as session:
        job = open_import(session, "default")
    let_age(job)


def desert_an_item(broken: Gallery) -> None:
    broken.upload(9)
    with transaction() as session:
        claims.claim_items(session, Lane.SINGLE, owner="gone", limit=1, lease_seconds=-3600)


def leave_in_doubt(broken: Gallery) -> None:
    broken.blobs.put("pictures/default/aa/aa", b"bytes")
    run("INSERT INTO blob_in_doubt VALUES (uuidv7(interval '-1 h'), 'pictures/default/aa/aa', now() - interval '1 h')")


def leave_bytes(broken: Gallery) -> None:
    broken.blobs.put("pictures/default/aa/aa", b"bytes")


def leave_a_thumbnail(broken: Gallery) -> None:
    broken.blobs.put("thumbnails/default/aa/aa", b"bytes")


def leave_an_upload(broken: Gallery) -> None:
    broken.blobs.put("imports/aa", b"bytes")


def leave_a_model(broken: Gallery) -> None:
    broken.blobs.put("models/aa/weights.safetensors", b"bytes")


def forget_an_image(broken: Gallery) -> None:
    run("DELETE FROM job_item WHERE image_id = :id", id=broken.images[0])
    run("DELETE FROM embedding WHERE image_id = :id", id=broken.images[0])


def lose_an_embedding(broken: Gallery) -> None:
    run("DELETE FROM embedding WHERE image_id = :id", id=broken.images[0])


def scale_a_vector(broken: Gallery) -> None:
    run("UPDATE embedding SET vector = '[2,0,0,0,0,0,0,0]' WHERE image_id = :id", id=broken.images[0])


def clear_a_vector(broken: Gallery) -> None:
    run("UPDATE embedding SET vector = '[0,0,0,0,0,0,0,0]' WHERE image_id = :id", id=broken.images[0])


def drop_the_index(broken: Gallery) -> None:
    run(f"DROP INDEX {partition()}_hnsw")


def leave_an_index_half_built(broken: Gallery) -> None:
    drop_the_index(broken)
    with suppress(DBAPIError), autocommit() as connection:  # of a width that the vectors do not have
        index = f"{partition()}_hnsw ON {partition()} USING hnsw ((vector::halfvec(3)) halfvec_cosine_ops)"
        connection.execute(text(f"CREATE INDEX CONCURRENTLY {index}"))
    with transaction() as session:
        valid = session.scalar(
            text(f"SELECT indisvalid FROM pg_index WHERE indexrelid = '{partition()}_hnsw'::regclass")
        )
    assert valid is False


def leave_a_job_waiting_for_the_index(broken: Gallery) -> None:
    with transaction() as session:
        job, *_ = jobs.list_jobs(session, status=None, job_type=None, before=None, limit=1)
        jobs.change_job(session, job.id, indexing=True)
    let_age(job.id)


REPAIRED = [
    (miscount, "job_counts"),
    (miscount_pending, "job_counts"),
    (seal_too_early, "unlisted_source"),
    (leave_a_source_of_a_cancelled_job, "unlisted_source"),
    (abandon_a_job, "idle_job"),
    (desert_an_item, "deserted_item"),
    (leave_in_doubt, "blob_in_doubt"),
    (leave_bytes, "stray_blob"),
    (leave_a_thumbnail, "stray_blob"),
    (leave_an_upload, "stray_upload"),
    (leave_a_model, "stray_model"),
    (forget_an_image, "no_embedding"),
    (lose_an_embedding, "lost_embedding"),
    (scale_a_vector, "wrong_vector"),
    (clear_a_vector, "wrong_vector"),
    (drop_the_index, "no_index"),
    (leave_an_index_half_built, "no_index"),
    (leave_a_job_waiting_for_the_index, "index_awaited"),
]


@pytest.mark.parametrize(("breaking", "code"), REPAIRED, ids=[breaking.__name__ for breaking, _ in REPAIRED])
def test_a_mismatch_is_found_alone_and_repaired(amid: Gallery, breaking: Callable[[Gallery], None], code: str) -> None:
    breaking(amid)
    found, repaired, left = amid.find(), amid.find(repair=True), amid.find()
    amid.work()
    assert (found, repaired, left, amid.find()) == ({code: 1}, {code: 1}, {}, {})


def lose_bytes(broken: Gallery) -> None:
    broken.blobs.delete(broken.key())


def cut_bytes(broken: Gallery) -> None:
    broken.blobs.put(broken.key(), broken.blobs.get(broken.key())[:-1])


def flip_a_byte(broken: Gallery) -> None:
    data = bytearray(broken.blobs.get(broken.key()))
    data[-1] ^= 1
    broken.blobs.put(broken.key(), bytes(data))


def lose_a_model(broken: Gallery) -> None:
    broken.blobs.delete(next(blob.key for blob in broken.blobs.list("models")))


LOST = [
    (lose_bytes, "missing_blob"),
    (cut_bytes, "wrong_size"),
    (flip_a_byte, "wrong_hash"),
    (lose_a_model, "missing_model"),
]


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
    miscount_pending(amid)
    amid.find(repair=True)
    with transaction() as session:
        assert {job.status for job in jobs.list_jobs(session, status=None, job_type=None, before=None, limit=9)} == {
            "succeeded"
        }


def test_a_model_without_embeddings_has_all_of_them_queued_in_one_job(amid: Gallery) -> None:
    amid.register(2)
    found, repaired = amid.find(), amid.find(repair=True)
    with transaction() as session:
        (job,) = jobs.list_jobs(session, status=None, job_type=JobType.REPAIR, before=None, limit=9)
    assert (found, repaired) == ({"no_embedding": 3}, {"no_embedding": 3})
    assert (job.sealed, job.pending, job.total) == (True, 3, 3)


def test_a_vector_of_another_width_goes_before_the_index_is_built(amid: Gallery) -> None:
    with transaction() as session:
        version = model_versions.get_active_version(session)
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
    desert_an_item(amid)
    amid.find(repair=True)
    with transaction() as session:
        (item,) = claims.claim_items(session, Lane.SINGLE, owner="me", limit=9, lease_seconds=60)
    assert item.attempts == 1


def test_a_repair_rings_for_what_it_queued(amid: Gallery, redis: Redis) -> None:
    lose_an_embedding(amid)
    bell = doorbell()._redis
    bell.delete(Lane.BULK)
    amid.find(repair=True)
    assert bell.llen(Lane.BULK) == 1


# Work in flight, and states that are meant, are no mismatches.


def test_pending_failed_and_cancelled_images_are_not_missed(amid: Gallery) -> None:
    accepted = [add_image(transaction, amid.blobs, settings(), Upload(picture(seed))) for seed in (7, 8, 9)]
    with transaction() as session:
        failed = session.execute(text("SELECT id FROM job_item WHERE job_id = :job"), {"job": accepted[1].job_id})
        items.fail_items(session, {failed.scalar_one(): ("corrupt_picture", "It is broken.")})
    assert accepted[2].job_id is not None
    cancel_job(transaction, accepted[2].job_id)
    assert amid.find() == {}


def test_bytes_of_an_upload_that_is_not_committed_are_not_stray(amid: Gallery) -> None:
    key = blob_key("default", b"x" * 32)
    with transaction() as session:
        notes = blob_notes.insert_notes(session, [key])
    with transaction() as session:
        blob_notes.take_notes(session, notes)
        images.lock_blobs(session, [key])
        amid.blobs.put(key, b"bytes")
        assert amid.find(repair=True) == {}
    assert amid.blobs.exists(key)


def test_an_archive_on_its_way_in_is_not_stray(amid: Gallery) -> None:
    with transaction() as session:
        blob_notes.insert_notes(session, ["imports/aa"], patience_seconds=3600)
    amid.blobs.put("imports/aa", b"bytes")
    assert amid.find(repair=True) == {}


def test_an_archive_that_an_import_reads_is_not_stray(amid: Gallery) -> None:
    amid.blobs.put("imports/aa", b"bytes")
    with transaction() as session:
        job = open_import(session, "default")
        spec = {"type": "zip", "blob_key": "imports/aa"}
        sources.insert_source(session, job, spec, label_from_folder=False, dry_run=False)
    assert amid.find(repair=True) == {}


def test_an_index_that_a_load_is_spared_is_not_missed(amid: Gallery) -> None:
    with transaction() as session:
        job = open_import(session, "default")
        jobs.change_job(session, job, indexing=True)
    drop_the_index(amid)
    assert amid.find() == {}


def test_an_index_that_a_load_has_just_made_due_is_not_missed(amid: Gallery) -> None:
    run("UPDATE job SET indexing = true")
    drop_the_index(amid)
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
        gallery.remove_image(transaction, amid.blobs, amid.images[0])
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
    fleeting.leaving = lambda: gallery.remove_image(transaction, amid.blobs, came.pop()) if came else None
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
                gallery.remove_image(transaction, amid.blobs, added[0])
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
    command = [sys.executable, "-P", "-m", "cli.main", "reconcile", *arguments]
    environment = {**os.environ, "UMBEL_BLOB_URL": (broken.folder / "blobs").as_uri()}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_the_command_tells_finds_and_repairs_for_machines(amid: Gallery) -> None:
    leave_bytes(amid)
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
    lose_bytes(amid)
    seen = umbel_reconcile(amid)
    assert (seen.returncode, str(amid.images[0]) in seen.stdout, "backup" in seen.stdout) == (1, True, True)
